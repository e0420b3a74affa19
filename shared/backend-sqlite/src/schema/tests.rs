use super::*;

fn tables(connection: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare(sql).expect("a query");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("names")
}

#[test]
fn every_older_version_becomes_the_present_one() {
    let mut fresh = Connection::open_in_memory().expect("a database");
    migrate(&mut fresh, MIGRATIONS).expect("migrated");
    assert!(tables(&fresh).iter().any(|(name, _)| name == "job"));
    for older in 0..=MIGRATIONS.len() {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection, &MIGRATIONS[..older]).expect("the older version");
        assert_eq!(version(&connection), Ok(older as i64));
        migrate(&mut connection, MIGRATIONS).expect("migrated");
        assert_eq!(version(&connection), Ok(MIGRATIONS.len() as i64));
        assert_eq!(tables(&connection), tables(&fresh), "from version {older}");
    }
}

#[test]
fn a_migration_that_fails_leaves_the_older_version() {
    let mut connection = Connection::open_in_memory().expect("a database");
    migrate(&mut connection, MIGRATIONS).expect("migrated");
    let before = tables(&connection);
    let broken = [MIGRATIONS, &["CREATE TABLE more (x) STRICT"]].concat();
    assert!(migrate(&mut connection, &broken).is_err());
    assert_eq!(version(&connection), Ok(MIGRATIONS.len() as i64));
    assert_eq!(tables(&connection), before);
}
