//! The sessions as a peer sees them: dialogues, the table of states and commands, smuggling, both sides together.

#[cfg(test)]
mod client;
#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod table;
