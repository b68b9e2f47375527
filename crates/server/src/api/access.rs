//! What each role may do: the table of `docs/mailgun.md`, as a function.

use store::{KeyRole, KeyScope};

use super::operation::{Access, Operation};

/// What an operation asks of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    access: Access,
    /// It changes nothing.
    reads: bool,
}

impl Demand {
    /// What this one asks.
    pub(super) fn of(operation: &Operation) -> Demand {
        Demand { access: operation.access, reads: operation.reads }
    }

    /// Whether a key of this role satisfies it. That a key of a domain opens no other domain is looked at apart.
    pub(super) fn is_met_by(self, role: KeyRole, scope: &KeyScope) -> bool {
        let of_account = *scope == KeyScope::Account;
        let in_role = match role {
            KeyRole::Admin => true,
            KeyRole::Developer => self.access != Access::Admin,
            KeyRole::Basic => self.access != Access::Admin && self.reads,
            KeyRole::Sending => matches!(self.access, Access::Open | Access::Sending),
        };
        let in_scope = match self.access {
            Access::Open | Access::Sending | Access::Domain | Access::Filtered => true,
            Access::Account | Access::Admin => of_account,
        };
        in_role && in_scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each demand the roles of account keys that meet it, then those of domain keys.
    const TABLE: [(Access, bool, &str, &str); 10] = [
        (Access::Sending, false, "admin developer sending", "admin developer sending"),
        (Access::Sending, true, "admin developer basic sending", "admin developer basic sending"),
        (Access::Domain, false, "admin developer", "admin developer"),
        (Access::Domain, true, "admin developer basic", "admin developer basic"),
        (Access::Filtered, false, "admin developer", "admin developer"),
        (Access::Filtered, true, "admin developer basic", "admin developer basic"),
        (Access::Account, false, "admin developer", ""),
        (Access::Account, true, "admin developer basic", ""),
        (Access::Admin, false, "admin", ""),
        (Access::Admin, true, "admin", ""),
    ];

    #[test]
    fn roles_may_do_what_the_table_says() {
        for (access, reads, of_account, of_domain) in TABLE {
            let domain = KeyScope::Domain("example.com".parse().unwrap());
            for (scope, expected) in [(KeyScope::Account, of_account), (domain, of_domain)] {
                let may = |role: &KeyRole| Demand { access, reads }.is_met_by(*role, &scope);
                let roles: Vec<_> = KeyRole::ALL.into_iter().filter(may).map(KeyRole::as_str).collect();
                assert_eq!(roles.join(" "), expected, "{access:?} {reads} {scope:?}");
            }
        }
    }
}
