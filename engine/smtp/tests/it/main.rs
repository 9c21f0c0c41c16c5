//! The sessions as a peer sees them: dialogues, the table of states and commands, smuggling, both sides together.

mod client;
mod dialogues;
mod driver;
mod pair;
mod properties;
mod smuggling;
mod table;
