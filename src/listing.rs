//! Lists of what a snapshot holds: Services, endpoints, frontends and clashes, in pages of a bounded size, as rows and as tables.
//!
//! Pure, so that a running proxy and a command that reads manifests list the same.

mod cursor;
mod make;
mod rows;
mod select;
mod table;

pub use rows::{ClashRow, ClientRow, EndpointRow, FrontendRow, ServiceRow};
pub use select::{ListFilter, ListRows, ListSubject, RowPage, list};
pub use table::{MAX_WIDTH, TableWidth, columns};

#[cfg(test)]
mod tests;
