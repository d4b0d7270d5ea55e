//! Traces of a session: connection, statements, and waits for a backend.
//!
//! If tracing is off, each call is one branch. Spans contain facts about a statement, never its text.

use std::time::Instant;

use crate::{
    audit::record::{self, Route, ServerRecord},
    session::StatementReport,
    telemetry::traces::{Attribute, Span, SpanContext, Tracer, parent_of},
};

/// Tracing state of a session.
pub(crate) struct Traced {
    tracer: Tracer,
    /// Time of the lease, until the end of the statement that waited for it.
    leased: Option<Instant>,
}

/// Bytes of a statement's text that are kept for the comment at its end.
pub(crate) const MAX_TEXT_BYTES: usize = 32 << 10;

impl Traced {
    /// Traces the login of a client that connected at `arrived`.
    pub(crate) fn connected(tracer: &Tracer, facts: &record::Session, arrived: Instant) -> Self {
        if tracer.is_on()
            && let Some(context) = tracer.sample(None)
        {
            let method = facts.method.map(|method| ("gatekeeper.auth", Attribute::Word(method)));
            tracer.submit(Span {
                name: "connect",
                context,
                towards_server: false,
                started: arrived,
                ended: Instant::now(),
                attributes: session_attributes(facts).into_iter().chain(method).collect(),
                error: None,
            });
        }
        Self { tracer: tracer.clone(), leased: None }
    }

    /// Notes a lease.
    pub(crate) fn note_lease(&mut self) {
        if self.tracer.is_on() {
            self.leased = Some(Instant::now());
        }
    }

    /// Traces the end of a statement.
    pub(crate) fn trace_statement(
        &mut self,
        report: &StatementReport,
        facts: &record::Session,
        server: Option<&ServerRecord>,
        route: Route,
    ) {
        if !self.tracer.is_on() {
            return;
        }
        let leased = self.leased.take();
        let parent = report.text.as_ref().filter(|text| !text.is_cut).and_then(|text| parent_of(&text.bytes));
        let Some(context) = self.tracer.sample(parent) else { return };
        if let Some(leased) = leased.filter(|at| (report.started..=report.ended).contains(at))
            && let Some(context) = context.inside()
        {
            self.tracer.submit(Span {
                name: "lease",
                context,
                towards_server: false,
                started: report.started,
                ended: leased,
                attributes: server_attributes(server, route),
                error: None,
            });
        }
        self.tracer.submit(statement_span(report, context, facts, server, route));
    }
}

fn statement_span(
    report: &StatementReport,
    context: SpanContext,
    facts: &record::Session,
    server: Option<&ServerRecord>,
    route: Route,
) -> Span {
    let mut attributes = session_attributes(facts);
    attributes.extend(server_attributes(server, route));
    attributes.push(("gatekeeper.statement", Attribute::Word(report.kind.as_str())));
    let error = report.error.map(|state| state.as_str().to_owned());
    match &error {
        Some(state) => attributes.push(("db.response.status_code", Attribute::Text(state.clone()))),
        None => {
            let rows = i64::try_from(report.rows).unwrap_or(i64::MAX);
            attributes.push(("db.response.returned_rows", Attribute::Number(rows)));
        }
    }
    Span {
        name: "statement",
        context,
        towards_server: true,
        started: report.started,
        ended: report.ended,
        attributes,
        error,
    }
}

/// Attributes of the session.
fn session_attributes(facts: &record::Session) -> Vec<(&'static str, Attribute)> {
    let id = i64::try_from(facts.id).unwrap_or(i64::MAX);
    let mut attributes = vec![
        ("db.system.name", Attribute::Word("postgresql")),
        ("gatekeeper.session", Attribute::Number(id)),
        ("gatekeeper.listener", Attribute::Text(facts.listener.to_string())),
    ];
    if let Some(database) = &facts.database {
        attributes.push(("db.namespace", Attribute::Text(database.to_string())));
    }
    attributes
}

/// Attributes of server and route.
fn server_attributes(server: Option<&ServerRecord>, route: Route) -> Vec<(&'static str, Attribute)> {
    let mut attributes = vec![
        ("gatekeeper.route.decision", Attribute::Word(route.decision)),
        ("gatekeeper.route.reason", Attribute::Word(route.reason)),
    ];
    if let Some(server) = server {
        attributes.push(("gatekeeper.endpoint", Attribute::Text(server.endpoint.name.to_string())));
        attributes.push(("gatekeeper.backend_role", Attribute::Word(server.endpoint.role.as_str())));
        attributes.push(("server.address", Attribute::Text(server.endpoint.address.to_string())));
    }
    attributes
}
