//! The program as a process, against real PostgreSQL servers: a file per capability.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking and talks to whoever runs it"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod access_list;
mod admin;
mod audit;
mod audit_full;
mod audit_load;
mod cancel;
mod cancel_race;
mod chaos;
mod client_auth;
mod client_certificates;
mod client_errors;
mod client_passwords;
mod client_tls;
mod commits_in_doubt;
mod console;
mod copy;
mod cut_messages;
mod disconnects;
mod doctor;
mod documentation;
mod drain;
mod endpoint_tls;
mod endpoints;
mod environment;
mod failover;
mod fairness;
mod freshness;
mod full_server;
mod handover;
mod holds;
mod iam;
mod isolation;
mod leftover_state;
mod life_cycle;
mod listeners;
mod login_changes;
mod lost_backends;
mod metrics;
mod operators;
mod overload;
mod pooled_disconnects;
mod pooled_operations;
mod pooled_statements;
mod pooling;
mod postgresql_18;
mod pressure;
mod probe;
mod prometheus;
mod protocol;
mod reload;
mod replication;
mod sandbox;
mod session_tags;
mod session_timeouts;
mod silent_peers;
mod sockets;
mod split;
mod status_page;
mod terminate;
mod tokens;
mod traces;
mod verdict;
mod writer_loss;
mod writer_move;
mod writer_reads;
