//! Message ids that were seen: what a sender sends again is known by them and dropped.
