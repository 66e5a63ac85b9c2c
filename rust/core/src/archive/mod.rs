//! Archived logs: files of any compression, read in parallel, become tables.
//!
//! [`source`] opens a file as a stream of text, [`blocks`] cuts the stream into blocks of whole lines,
//! [`scan`] gives the parts of all files to workers and joins what they return, [`long`] counts one file in
//! stretches that fit into memory, [`edges`] tells what the files around a source decide, [`years`] finds the years of lines that tell none, [`digest`] gives a text its
//! identity.

pub mod blocks;
pub mod digest;
pub mod edges;
pub mod long;
pub mod paper;
pub mod scan;
pub mod shapes;
pub mod source;
pub mod years;
