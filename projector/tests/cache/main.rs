//! The follower that writes to Redis, against real servers: what it vouches for is there, and
//! whatever happens to Redis, to the projector or between two of them, no value is ever wrong.

mod following;
mod losses;
mod outages;
mod rivals;
mod stage;
mod tools;
