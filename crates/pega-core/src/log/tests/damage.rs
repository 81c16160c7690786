//! Files that were cut or changed behind the log's back.
