//! Catalogue and history on PostgreSQL.
