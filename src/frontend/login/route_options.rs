//! Route options of a client in its startup packet.

use crate::{session::RouteOptions, wire::StartupMessage};

/// Reads the route options of a startup packet: by name, or among `options` in libpq's notation (`-c name=value`,
/// `--name=value`). The server also receives the options, so that `SHOW` and `RESET` know the values.
///
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS>
pub(crate) fn read_route_options(startup: &StartupMessage) -> RouteOptions {
    RouteOptions {
        route: own_setting(startup, "gatekeeper.route"),
        consistency: own_setting(startup, "gatekeeper.consistency"),
    }
}

fn own_setting(startup: &StartupMessage, name: &str) -> Option<Box<[u8]>> {
    if let Some(value) = startup.get(name) {
        return Some(value.into());
    }
    let options = String::from_utf8_lossy(startup.get("options")?).into_owned();
    let mut words = options.split_ascii_whitespace();
    let mut found = None;
    while let Some(word) = words.next() {
        let option = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(attached) => Some(attached),
            None => word.strip_prefix("--"),
        };
        if let Some((key, value)) = option.and_then(|option| option.split_once('='))
            && key.eq_ignore_ascii_case(name)
        {
            // The last value counts, as on the server.
            found = Some(value.as_bytes().into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(parameters: &[(&str, &str)]) -> StartupMessage {
        let mut startup = StartupMessage::new(crate::wire::ProtocolVersion::V3_0);
        for (name, value) in parameters {
            startup.set(name, value.as_bytes());
        }
        startup
    }

    #[test]
    fn settings_are_found_by_name_and_among_options() {
        let route = |parameters: &[(&str, &str)]| {
            read_route_options(&startup(parameters)).route.map(|it| it.to_vec())
        };
        assert_eq!(route(&[("gatekeeper.route", "primary")]), Some(b"primary".to_vec()));
        assert_eq!(route(&[("options", "-c gatekeeper.route=primary")]), Some(b"primary".to_vec()));
        assert_eq!(route(&[("options", "-cgeqo=off --Gatekeeper.Route=read")]), Some(b"read".to_vec()));
        assert_eq!(route(&[("options", "-c geqo=off -c")]), None);
        assert_eq!(route(&[]), None);
    }
}
