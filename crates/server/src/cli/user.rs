//! `waxwing user`: who may use the control panel. A password that is made here is shown once and never again.

use std::io::Read;

use clap::Subcommand;
use serde_json::{Value, json};
use smtp::Domain;
use store::user::{NewUser, User, UserRole};
use store::{PasswordHash, Store, Timestamp};

use super::domain::Output;
use super::{Failure, print, rfc3339};
use crate::config::Secret;
use crate::console::{check_new_password, check_user_name};
use crate::submission::password;

/// Longest password that is read; the longest that there may be is shorter.
const PASSWORD_OCTETS: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user of the control panel, with a password that is shown this once.
    #[command(visible_alias = "add")]
    Create {
        /// What is typed to sign in, such as an address.
        #[arg(value_parser = name)]
        name: String,
        /// The only sending domain that the user has to do with; without one the user may do everything.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<Domain>,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        output: Output,
    },
    /// List the users.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Give a user another password; every session of the user ends.
    Password {
        name: String,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        output: Output,
    },
    /// Delete a user; every session of the user ends.
    Delete {
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Given {
    /// Take the password from standard input, one line of at least 10 characters, instead of making one.
    #[arg(long)]
    password_stdin: bool,
}

fn name(text: &str) -> Result<String, String> {
    check_user_name(text).map(|()| text.to_owned())
}

pub(super) async fn run(store: &Store, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create { name, domain, given, output } => {
            let (password, hash) = given.password()?;
            let role = domain.map_or(UserRole::Admin, UserRole::Domain);
            let user = store.create_user(NewUser { name, hash, role, now: Timestamp::now() }).await?;
            show(&user.name, given, &password, output)
        }
        UserCommand::List { output } => list(store, output).await,
        UserCommand::Password { name, given, output } => {
            let user = find(store, &name).await?;
            let (password, hash) = given.password()?;
            store.set_user_password(user.id, hash, None).await?;
            show(&user.name, given, &password, output)
        }
        UserCommand::Delete { name, output } => {
            let user = find(store, &name).await?;
            store.delete_user(user.id).await?;
            match output.json {
                true => print(format_args!("{:#}\n", json!({ "name": user.name, "deleted": true }))),
                false => print(format_args!("user {} deleted\n", user.name)),
            }
        }
    }
}

async fn find(store: &Store, name: &str) -> Result<User, Failure> {
    store.find_user(name).await?.ok_or_else(|| Failure::Failed(format!("there is no user {name}")))
}

impl Given {
    fn password(self) -> Result<(Secret, PasswordHash), Failure> {
        let no_randomness = || Failure::of("the system's source of randomness failed");
        let password = match self.password_stdin {
            true => {
                let mut text = String::new();
                std::io::stdin().take(PASSWORD_OCTETS).read_to_string(&mut text).map_err(Failure::of)?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                check_new_password(text).map_err(Failure::of)?;
                Secret::new(text)
            }
            false => password::generate().ok_or_else(no_randomness)?,
        };
        let hash = password::hash(password.expose()).ok_or_else(no_randomness)?;
        Ok((password, hash))
    }
}

/// The name, and the password if nobody knows it otherwise.
fn show(name: &str, given: Given, password: &Secret, output: Output) -> Result<(), Failure> {
    let shown = (!given.password_stdin).then(|| password.expose());
    match (output.json, shown) {
        (true, shown) => {
            print(format_args!("{:#}\n", json!({ "name": name, "password": shown.map_or(Value::Null, Value::from) })))
        }
        (false, Some(password)) => print(format_args!("{password}\n")),
        (false, None) => print(format_args!("user {name} has the password\n")),
    }
}

async fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let users = store.list_users().await?;
    if output.json {
        let told = |user: &User| {
            json!({
                "name": user.name,
                "domain": user.role.domain(),
                "created_at": rfc3339(user.created_at),
                "signed_in_at": user.signed_in_at.map(rfc3339),
            })
        };
        return print(format_args!("{:#}\n", Value::from_iter(users.iter().map(told))));
    }
    let line = |user: &User| {
        let may = user.role.domain().map_or("everything", Domain::as_str);
        let last = user.signed_in_at.map_or("never".to_owned(), rfc3339);
        format!("{}  {may}  since {}  signed in last {last}\n", user.name, rfc3339(user.created_at))
    };
    print(users.iter().map(line).collect::<String>())
}
