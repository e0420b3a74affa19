use drs_lab_servers::{PASSWORD, Postgres};
use drs_model::Secret;

use super::*;
use crate::config::PostgresConfig;
use crate::database::Database;

const COLUMNS: &str = "\
    SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable) \
    FROM information_schema.columns WHERE table_schema = 'drs' \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'drs' \
    ORDER BY 1";

fn fresh() -> Database {
    let url = Postgres::shared().fresh_database().replace(&format!(":{PASSWORD}@"), "@");
    let password = Some(Secret::new(PASSWORD));
    let config = PostgresConfig { password, ..PostgresConfig::new(url) };
    Database::open(&config).expect("a configuration")
}

async fn migrated(database: &Database, migrations: &[&str]) -> Result<(), Failure> {
    let mut client = database.connection().await.expect("connected");
    migrate(&mut client, migrations, database.what()).await
}

async fn texts(database: &Database, sql: &str) -> Vec<String> {
    let rows = database.rows(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

async fn versions(database: &Database) -> Vec<String> {
    texts(database, "SELECT version::text FROM drs.drs_schema ORDER BY version").await
}

#[tokio::test]
async fn every_older_version_becomes_the_present_one() {
    let present = fresh();
    migrated(&present, MIGRATIONS).await.expect("migrated");
    let tables = texts(&present, COLUMNS).await;
    assert!(tables.iter().any(|column| column.starts_with("host name text")), "{tables:?}");
    for older in 0..=MIGRATIONS.len() {
        let database = fresh();
        migrated(&database, &MIGRATIONS[..older]).await.expect("the older version");
        migrated(&database, MIGRATIONS).await.expect("migrated");
        assert_eq!(texts(&database, COLUMNS).await, tables, "from version {older}");
        assert_eq!(versions(&database).await, versions(&present).await);
    }
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_older_version() {
    let database = fresh();
    migrated(&database, MIGRATIONS).await.expect("migrated");
    let before = (texts(&database, COLUMNS).await, versions(&database).await);
    for broken in ["CREATE TABLE drs.more (x int); SELECT nonsense", "CREATE TABLE drs.host ()"] {
        let migrations = [MIGRATIONS, &["CREATE TABLE drs.first (x int)", broken]].concat();
        migrated(&database, &migrations).await.expect_err(broken);
        assert_eq!((texts(&database, COLUMNS).await, versions(&database).await), before);
    }
}
