//! Everything end to end, in one binary: a test is a story about behaviour, and its name a sentence.

mod binaries;
mod command_line;
mod data_actions;
mod documents;
mod examples;
mod openapi;
mod relay;
mod retention;
mod template;
mod trace;
mod transfers;
mod webhook_intake;
