//! Connections to the database at `DATABASE_URL`, and the macros that sqlx's tests of its types are made with.

use sqlx::{Connection, Database, Pool};

pub fn setup_if_needed() {}

fn address() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is set")
}

pub async fn new<DB: Database>() -> Result<DB::Connection, sqlx::Error> {
    DB::Connection::connect(&address()).await
}

pub async fn pool<DB: Database>() -> Result<Pool<DB>, sqlx::Error> {
    sqlx::pool::PoolOptions::new().min_connections(0).max_connections(5).connect(&address()).await
}

/// Both what a text says and what a parameter of the type does.
#[macro_export]
macro_rules! test_type {
    ($name:ident($($rest:tt)*)) => { $crate::test_type!($name<$name>($($rest)*)); };
    ($name:ident<$type:ty>($($rest:tt)*)) => {
        $crate::test_decode_type!($name<$type>($($rest)*));
        $crate::test_prepared_type!($name<$type>($($rest)*));
    };
}

/// A text, read without a parameter. How texts are compared in SQL (`~=`, a statement of their own) is not looked at:
/// values are compared here.
#[macro_export]
macro_rules! test_decode_type {
    ($name:ident($($rest:tt)*)) => { $crate::test_decode_type!($name<$name>($($rest)*)); };
    ($name:ident<$type:ty>($db:ident, $statement:literal, $($rest:tt)*)) => {
        $crate::test_decode_type!($name<$type>($db, $($rest)*));
    };
    ($name:ident<$type:ty>($db:ident, $($text:literal $(==)? $(~=)? $(@=)? $value:expr),+ $(,)?)) => {
        ::paste::paste! {
            #[sqlx::test]
            async fn [<decodes_ $name:snake>]() -> Result<(), sqlx::Error> {
                use sqlx::{Executor, Row};
                let mut connection = $crate::new::<sqlx::$db>().await?;
                $(
                    let row = connection.fetch_one(sqlx::raw_sql(concat!("SELECT ", $text))).await?;
                    assert_eq!($value, row.try_get::<$type, _>(0)?);
                    let row = sqlx::query(concat!("SELECT ", $text)).fetch_one(&mut connection).await?;
                    assert_eq!($value, row.try_get::<$type, _>(0)?);
                )+
                Ok(())
            }
        }
    };
}

/// A parameter that comes back as it went.
#[macro_export]
macro_rules! test_prepared_type {
    ($name:ident($($rest:tt)*)) => { $crate::test_prepared_type!($name<$name>($($rest)*)); };
    ($name:ident<$type:ty>($db:ident, $statement:literal, $($rest:tt)*)) => {
        $crate::test_prepared_type!($name<$type>($db, $($rest)*));
    };
    ($name:ident<$type:ty>($db:ident, $($text:literal $(==)? $(~=)? $(@=)? $value:expr),+ $(,)?)) => {
        ::paste::paste! {
            #[sqlx::test]
            async fn [<binds_ $name:snake>]() -> Result<(), sqlx::Error> {
                use sqlx::Row;
                let mut connection = $crate::new::<sqlx::$db>().await?;
                $(
                    let text = concat!("SELECT $1, ", $text);
                    let row = sqlx::query(text).bind($value).fetch_one(&mut connection).await?;
                    assert_eq!($value, row.try_get::<$type, _>(0)?);
                    assert_eq!($value, row.try_get::<$type, _>(1)?);
                )+
                Ok(())
            }
        }
    };
}
