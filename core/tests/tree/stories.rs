//! Stories of each rule.
