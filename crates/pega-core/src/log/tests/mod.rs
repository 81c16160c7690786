//! Tests of the log as a whole, each through the smallest owner of an index there is.

mod damage;
mod failing;
mod follow;
mod reopen;
mod space;
mod table;
