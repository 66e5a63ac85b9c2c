//! Unmatched lines grouped by shape.
