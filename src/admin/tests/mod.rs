//! The admin API without a socket: requests in, answers out.

mod access;
mod description;
mod desk;
mod events;
mod health;
mod limits;
mod operations;
mod page;
mod pools;
mod sessions;
mod topology;
