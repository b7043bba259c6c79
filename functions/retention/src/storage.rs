//! What a policy means for storage. The figures per object type are those of the guides.

use serde::Serialize;
use shared::genesys::retention::ObjectType;

/// More than so many TB is a high risk.
const HIGH_TB: f64 = 50.0;

/// More than so many TB is a medium one.
const MEDIUM_TB: f64 = 20.0;

/// How much will be stored when a policy has been in force for its whole period.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Impact {
    object_type: ObjectType,
    retention_days: u64,
    #[serde(rename = "dailyVolumeGB")]
    daily_volume_gb: f64,
    #[serde(flatten)]
    projected: Projected,
}

/// An amount, and what to think of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Projected {
    #[serde(rename = "projectedStorageGB")]
    gb: f64,
    #[serde(rename = "projectedStorageTB")]
    tb: f64,
    risk_level: &'static str,
}

impl Impact {
    pub(crate) fn of(object_type: ObjectType, retention_days: u64, daily_volume_gb: f64) -> Self {
        let projected = Projected::of(gigabytes(object_type, retention_days, daily_volume_gb));
        Self { object_type, retention_days, daily_volume_gb, projected }
    }
}

impl Projected {
    pub(crate) fn of(gb: f64) -> Self {
        let tb = gb / 1024.0;
        let risk_level = if tb > HIGH_TB {
            "HIGH"
        } else if tb > MEDIUM_TB {
            "MEDIUM"
        } else {
            "LOW"
        };
        Self { gb: rounded(gb), tb: rounded(tb), risk_level }
    }
}

/// GB that will be stored, not rounded.
pub(crate) fn gigabytes(object_type: ObjectType, retention_days: u64, daily_volume_gb: f64) -> f64 {
    let factor = match object_type {
        ObjectType::Call => 1.2,
        ObjectType::Chat => 0.8,
        ObjectType::Email => 1.5,
        ObjectType::Task => 0.4,
        ObjectType::Interaction => 1.0,
        ObjectType::Sms => 0.3,
    };
    #[expect(clippy::cast_precision_loss, reason = "periods are far below 2^53 days")]
    let days = retention_days as f64;
    daily_volume_gb * days * factor
}

/// To two decimals.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_impact_is_volume_times_days_times_factor() {
        let impact = serde_json::to_value(Impact::of(ObjectType::Call, 90, 2.5)).unwrap();
        let expected = json!({
            "objectType": "call",
            "retentionDays": 90,
            "dailyVolumeGB": 2.5,
            "projectedStorageGB": 270.0,
            "projectedStorageTB": 0.26,
            "riskLevel": "LOW",
        });
        assert_eq!(impact, expected);
        let factors = ObjectType::ALL.map(|it| gigabytes(it, 1, 1.0).to_string());
        assert_eq!(factors, ["1.2", "0.8", "1.5", "0.4", "1", "0.3"]);
    }

    #[test]
    fn a_risk_is_high_over_fifty_terabytes_and_medium_over_twenty() {
        let risk = |tb: f64| Projected::of(tb * 1024.0).risk_level;
        assert_eq!([risk(20.0), risk(20.01), risk(50.0), risk(50.01)], ["LOW", "MEDIUM", "MEDIUM", "HIGH"]);
    }
}
