//! A listener that splits looks like one PostgreSQL server: reads go to the read pools, everything else to the primary, and
//! nothing ever fails because of where it was sent.

mod freshness;
mod hints;
mod lost_readers;
mod pipelines;
mod reads;
mod reruns;
mod startup;
mod transactions;
