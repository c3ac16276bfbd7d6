//! What a store is, and whether its log is what the append wrote: `projector store info --check`.
