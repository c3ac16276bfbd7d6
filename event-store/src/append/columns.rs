//! Arrays for `unnest`, written from the rows of a batch straight into the message: no vector a
//! column, and payloads as
//! `json[]`, which sqlx would bind as `jsonb[]`.

use events::StreamId;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Postgres, Type};

/// An element type of Postgres: the ids of its array and of itself, as `pg_type.dat` gives them for
/// ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    array: u32,
    element: u32,
}

pub(super) const BYTEA: Element = Element {
    array: 1001,
    element: 17,
};
pub(super) const SMALLINT: Element = Element {
    array: 1005,
    element: 21,
};
pub(super) const INTEGER: Element = Element {
    array: 1007,
    element: 23,
};
pub(super) const TEXT: Element = Element {
    array: 1009,
    element: 25,
};
pub(super) const BIGINT: Element = Element {
    array: 1016,
    element: 20,
};
pub(super) const TIMESTAMPTZ: Element = Element {
    array: 1185,
    element: 1184,
};
pub(super) const JSON: Element = Element {
    array: 199,
    element: 114,
};
pub(super) const UUID: Element = Element {
    array: 2951,
    element: 2950,
};

/// One column of `rows`: `put` writes a row's element in the binary form of its type.
struct Column<'a, R, F> {
    element: Element,
    rows: &'a [R],
    put: F,
}

impl<R, F> Type<Postgres> for Column<'_, R, F> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("anyarray")
    }
}

impl<R, F: Fn(&R, &mut Vec<u8>)> Encode<'_, Postgres> for Column<'_, R, F> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let bytes: &mut Vec<u8> = buffer;
        let count = i32::try_from(self.rows.len())?;
        // One dimension, no nulls, the element's type, the count, indexes from 1.
        bytes.extend_from_slice(&1_i32.to_be_bytes());
        bytes.extend_from_slice(&0_i32.to_be_bytes());
        bytes.extend_from_slice(&self.element.element.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&1_i32.to_be_bytes());
        for row in self.rows {
            let length_at = bytes.len();
            bytes.extend_from_slice(&[0; 4]);
            (self.put)(row, bytes);
            let length = i32::try_from(bytes.len() - length_at - 4)?;
            bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.element.array)))
    }
}

/// The arguments of a statement that unnests columns of `rows`.
pub(super) struct Columns<'a, R> {
    rows: &'a [R],
    arguments: PgArguments,
}

impl<'a, R> Columns<'a, R> {
    /// Goes on after the columns of other rows.
    pub(super) fn after(arguments: PgArguments, rows: &'a [R]) -> Self {
        Self { rows, arguments }
    }

    pub(super) fn of(rows: &'a [R]) -> Self {
        Self::after(PgArguments::default(), rows)
    }

    pub(super) fn column(
        mut self,
        element: Element,
        put: impl Fn(&R, &mut Vec<u8>),
    ) -> Result<Self, sqlx::Error> {
        let column = Column {
            element,
            rows: self.rows,
            put,
        };
        self.arguments.add(column).map_err(sqlx::Error::Encode)?;
        Ok(self)
    }

    pub(super) fn int8(self, of: impl Fn(&R) -> i64) -> Result<Self, sqlx::Error> {
        self.column(BIGINT, |row, bytes| {
            bytes.extend_from_slice(&of(row).to_be_bytes())
        })
    }

    pub(super) fn int4(self, of: impl Fn(&R) -> i32) -> Result<Self, sqlx::Error> {
        self.column(INTEGER, |row, bytes| {
            bytes.extend_from_slice(&of(row).to_be_bytes())
        })
    }

    pub(super) fn bytes(
        self,
        element: Element,
        of: impl Fn(&R) -> &[u8],
    ) -> Result<Self, sqlx::Error> {
        self.column(element, |row, bytes| bytes.extend_from_slice(of(row)))
    }

    pub(super) fn text(self, of: impl Fn(&R) -> &str) -> Result<Self, sqlx::Error> {
        self.column(TEXT, |row, bytes| {
            bytes.extend_from_slice(of(row).as_bytes())
        })
    }

    /// The stream's name, `tenant/id`, without making the text first.
    pub(super) fn name(self, of: impl Fn(&R) -> &StreamId) -> Result<Self, sqlx::Error> {
        self.column(TEXT, |row, bytes| {
            let stream = of(row);
            bytes.extend_from_slice(stream.tenant.as_str().as_bytes());
            bytes.push(b'/');
            bytes.extend_from_slice(stream.id.as_bytes());
        })
    }

    /// Microseconds since 1970.
    pub(super) fn time(self, of: impl Fn(&R) -> i64) -> Result<Self, sqlx::Error> {
        /// Postgres counts from 2000.
        const EPOCH: i64 = 946_684_800_000_000;
        self.column(TIMESTAMPTZ, |row, bytes| {
            bytes.extend_from_slice(&(of(row) - EPOCH).to_be_bytes());
        })
    }

    pub(super) fn arguments(self) -> PgArguments {
        self.arguments
    }
}
