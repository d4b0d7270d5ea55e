//! Keepalive that the server sends on the connections of a pool.
//!
//! Without it a server keeps the backends of a machine that is gone, and the locks of their transactions, for as long as its own
//! settings say: 10 min at AlloyDB, over 2 h with PostgreSQL's defaults. The settings are startup parameters, so that `RESET`
//! and `DISCARD ALL` keep them, and no state check finds them.
//!
//! <https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE>

use crate::{
    backend::{ConnectError, ConnectRequest},
    wire::{SqlState, StartupMessage},
};

/// Keepalive as on Gatekeeper's side: a vanished machine is detected within a minute.
const SETTINGS: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "3")];

/// The login `request` with keepalive; `None` if the client has settings of its own, which may contain others.
pub(super) fn with_keepalive(request: &ConnectRequest) -> Option<ConnectRequest> {
    if has_own_settings(&request.startup) {
        return None;
    }
    let mut request = request.clone();
    for (name, value) in SETTINGS {
        request.startup.set(name, value);
    }
    Some(request)
}

fn has_own_settings(startup: &StartupMessage) -> bool {
    startup.get("options").is_some()
        || startup
            .parameters()
            .any(|(name, _)| SETTINGS.iter().any(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes())))
}

/// True if the other side may have refused the login for its startup parameters, as a pooler does: the login is repeated
/// without them.
pub(super) fn may_refuse_parameters(error: &ConnectError) -> bool {
    let refused = [SqlState::PROTOCOL_VIOLATION, SqlState::new(*b"42704"), SqlState::new(*b"22023")];
    error.refused().and_then(|refused| refused.sqlstate()).is_some_and(|state| refused.contains(&state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::UserName, wire::ProtocolVersion};

    fn request(parameters: &[(&str, &str)]) -> ConnectRequest {
        let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
        for (name, value) in parameters {
            startup.set(name, *value);
        }
        ConnectRequest { user: UserName::new("app").unwrap(), startup, token_wait: None }
    }

    #[test]
    fn settings_of_the_client_are_left_alone() {
        for (parameters, is_added) in [
            (&[("user", "app")][..], true),
            (&[("DateStyle", "ISO")], true),
            (&[("options", "-c geqo=off")], false),
            (&[("TCP_Keepalives_Idle", "5")], false),
        ] {
            let request = request(parameters);
            let added = with_keepalive(&request);
            assert_eq!(added.is_some(), is_added, "{parameters:?}");
            if let Some(added) = added {
                assert_eq!(added.startup.get("tcp_keepalives_count"), Some(&b"3"[..]));
                assert_eq!(request.startup.get("tcp_keepalives_count"), None);
            }
        }
    }
}
