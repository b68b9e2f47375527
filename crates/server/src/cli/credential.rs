//! `waxwing credential`: logins for SMTP submission. A password that is made here is shown once and never again.

use std::io::Read;

use clap::Subcommand;
use serde_json::{Value, json};
use smtp::Address;
use store::{Credential, PasswordHash, Store, Timestamp};

use super::domain::Output;
use super::{Failure, print, rfc3339};
use crate::api::credentials::mailbox_of;
use crate::config::Secret;
use crate::submission::password;

/// How many credentials are asked for at a time.
const PAGE: usize = 500;
/// Longest password that is read; the longest that there may be is shorter.
const PASSWORD_OCTETS: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum CredentialCommand {
    /// Make a login for a sending domain, with a password that is shown this once.
    Create {
        /// The whole login, such as app@example.com.
        login: Address,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        output: Output,
    },
    /// List the logins of a sending domain, never their passwords.
    List {
        domain: smtp::Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Delete a login. Who is logged in with it begins no more messages.
    Delete {
        /// The whole login.
        login: Address,
        #[command(flatten)]
        output: Output,
    },
    /// Give a login another password.
    Password {
        /// The whole login.
        login: Address,
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Given {
    /// Take the password from standard input, one line of 5 to 32 characters, instead of making one.
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(store: &Store, command: CredentialCommand) -> Result<(), Failure> {
    match command {
        CredentialCommand::Create { login, given, output } => {
            let mailbox = mailbox(&login)?;
            let (password, hash) = given.password()?;
            let domain = login.domain().clone();
            let credential = Credential { domain, mailbox, hash, created_at: Timestamp::now() };
            let login = credential.login();
            store.create_credential(credential).await?;
            show(&login, given, &password, output)
        }
        CredentialCommand::Password { login, given, output } => {
            let mailbox = mailbox(&login)?;
            let (password, hash) = given.password()?;
            match store.set_credential_password(login.domain(), &mailbox, hash).await? {
                true => show(&format!("{mailbox}@{}", login.domain()), given, &password, output),
                false => Err(Failure::Failed(format!("there is no credential {login}"))),
            }
        }
        CredentialCommand::List { domain, output } => list(store, &domain, output).await,
        CredentialCommand::Delete { login, output } => {
            match store.delete_credential(login.domain(), &mailbox(&login)?).await? {
                true if output.json => {
                    print(format_args!("{:#}\n", json!({ "login": login.to_string(), "deleted": true })))
                }
                true => print(format_args!("credential {login} deleted\n")),
                false => Err(Failure::Failed(format!("there is no credential {login}"))),
            }
        }
    }
}

fn mailbox(login: &Address) -> Result<String, Failure> {
    mailbox_of(&login.to_string(), login.domain()).map_err(|error| Failure::of(error.text()))
}

impl Given {
    fn password(self) -> Result<(Secret, PasswordHash), Failure> {
        let no_randomness = || Failure::of("the system's source of randomness failed");
        let password = match self.password_stdin {
            true => {
                let mut text = String::new();
                std::io::stdin().take(PASSWORD_OCTETS).read_to_string(&mut text).map_err(Failure::of)?;
                let text =
                    text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
                password::check(text).map_err(Failure::of)?;
                Secret::new(text)
            }
            false => password::generate().ok_or_else(no_randomness)?,
        };
        let hash = password::hash(password.expose()).ok_or_else(no_randomness)?;
        Ok((password, hash))
    }
}

/// The login, and its password if nobody knows it otherwise.
fn show(login: &str, given: Given, password: &Secret, output: Output) -> Result<(), Failure> {
    let shown = (!given.password_stdin).then(|| password.expose());
    match (output.json, shown) {
        (true, shown) => {
            print(format_args!("{:#}\n", json!({ "login": login, "password": shown.map_or(Value::Null, Value::from) })))
        }
        (false, Some(password)) => print(format_args!("{password}\n")),
        (false, None) => print(format_args!("credential {login} has its password\n")),
    }
}

async fn list(store: &Store, domain: &smtp::Domain, output: Output) -> Result<(), Failure> {
    if store.domain(domain).await?.is_none() {
        return Err(Failure::Failed(format!("there is no domain {domain}")));
    }
    let mut all = Vec::new();
    loop {
        let (_, page) = store.list_credentials(domain, PAGE, all.len()).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    if output.json {
        let told = |one: &Credential| json!({ "login": one.login(), "created_at": rfc3339(one.created_at) });
        return print(format_args!("{:#}\n", Value::from_iter(all.iter().map(told))));
    }
    let line = |one: &Credential| format!("{}  since {}\n", one.login(), rfc3339(one.created_at));
    print(all.iter().map(line).collect::<String>())
}
