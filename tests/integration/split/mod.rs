//! A listener with split routing looks like one PostgreSQL server: reads go to the read pools, everything else to the
//! primary, and no statement fails because of its route.

mod freshness;
mod hints;
mod lagging;
mod lost_readers;
mod pipelines;
mod reads;
mod reruns;
mod startup;
mod transactions;
