//! Tests of the admin API without a socket.

mod access;
mod description;
mod desk;
mod diagnosis;
mod events;
mod health;
mod limits;
mod operations;
mod page;
mod pools;
mod sessions;
mod topology;
mod writer;
