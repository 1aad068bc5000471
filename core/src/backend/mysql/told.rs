//! Formats errors of the server without row values.

use std::borrow::Cow;

use sqlx::mysql::MySqlDatabaseError;

/// Errors whose messages name only tables, columns, constraints and limits.
const WITHOUT_VALUES: &[u16] = &[
    1020, 1021, 1030, 1038, 1040, 1044, 1045, 1046, 1047, 1048, 1049, 1050, 1051, 1053, 1054, 1060, 1061, 1064, 1071,
    1091, 1104, 1114, 1118, 1136, 1142, 1143, 1146, 1153, 1175, 1180, 1203, 1205, 1213, 1216, 1217, 1226, 1227, 1242,
    1264, 1265, 1286, 1290, 1305, 1317, 1364, 1406, 1412, 1451, 1452, 1467, 1615, 1665, 1792, 1836, 1927, 1969, 2013,
    3024, 3144, 3748, 3750, 3819, 4025, 4031,
];

const DUPLICATE: u16 = 1062;

pub(in crate::backend) fn told(error: &MySqlDatabaseError) -> Cow<'_, str> {
    let (number, message) = (error.number(), error.message());
    if WITHOUT_VALUES.contains(&number) {
        return message.into();
    }
    // The key comes last, so whatever the value says is cut off before it.
    let key = (number == DUPLICATE).then(|| message.rsplit_once(" for key ")).flatten();
    match key {
        Some((_, key)) => format!("Duplicate entry for key {key}").into(),
        None => format!("an error with number {number}").into(),
    }
}
