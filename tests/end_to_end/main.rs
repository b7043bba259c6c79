//! Everything end to end, in one binary: a test is a story about behaviour, and its name a sentence.

mod data_actions;
