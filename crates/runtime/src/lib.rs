//! Graph to session: engines, lowering, memory.
