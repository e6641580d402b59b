//! Items taken near a place.
//!
//! SQLite has no sines, so the catalogue gives those in a box around the circle, and the distance of each (the haversine formula on a sphere
//! of the earth's mean radius, 6371.0088 km; off by at most half a percent of the distance) is computed here.
use hua_index::{Filter, Reader};

use crate::Error;

const EARTH_KM: f64 = 6371.0088;

/// The items of `filter` that were taken at most `km` from a place (degrees north and east).
///
/// # Errors
/// If the filter is wrong or the library cannot be read.
pub fn near(reader: &Reader, filter: Filter, (latitude, longitude): (f64, f64), km: f64) -> Result<Filter, Error> {
    let boxed = filter.clone().and_where(bounds(latitude, longitude, km));
    let mut items = vec![];
    for id in reader.items(&boxed)? {
        let facts = reader.item(id)?.map(|item| item.facts).unwrap_or_default();
        if let (Some(north), Some(east)) = (facts.latitude, facts.longitude)
            && distance_km((latitude, longitude), (north, east)) <= km
        {
            items.push(id);
        }
    }
    Ok(filter.and_items(&items))
}

/// SQL that is true of all places within `km`, and of few others.
fn bounds(latitude: f64, longitude: f64, km: f64) -> String {
    // A little more, so that rounding loses nothing.
    let angle = km / EARTH_KM + 1e-9;
    let north = latitude.to_radians();
    let degrees = angle.to_degrees();
    let (low, high) = (latitude - degrees, latitude + degrees);
    let latitudes = format!("latitude BETWEEN {low} AND {high}");
    // A circle around a pole has all longitudes.
    if low <= -90.0 || high >= 90.0 || angle.sin() >= north.cos() {
        return latitudes;
    }
    let east = (angle.sin() / north.cos()).asin().to_degrees() + 1e-6;
    let (from, to) = (longitude - east, longitude + east);
    // The same meridians, should the circle cross the date line.
    format!(
        "{latitudes} AND (longitude BETWEEN {from} AND {to} OR longitude BETWEEN {} AND {} OR longitude BETWEEN {} AND {})",
        from - 360.0,
        to - 360.0,
        from + 360.0,
        to + 360.0
    )
}

fn distance_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (a, b) = ((a.0.to_radians(), a.1.to_radians()), (b.0.to_radians(), b.1.to_radians()));
    let square = |x: f64| (x / 2.0).sin().powi(2);
    let h = square(b.0 - a.0) + a.0.cos() * b.0.cos() * square(b.1 - a.1);
    2.0 * EARTH_KM * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let (beijing, paris, fiji, samoa) = ((39.9042, 116.4074), (48.8566, 2.3522), (-17.7, 178.0), (-13.8, -171.8));
        assert!((distance_km(beijing, paris) - 8214.0).abs() < 10.0, "{}", distance_km(beijing, paris));
        assert!((distance_km(fiji, samoa) - 1170.0).abs() < 30.0, "{}", distance_km(fiji, samoa));
        assert_eq!(distance_km(paris, paris), 0.0);
    }

    /// What SQLite makes of [`bounds`].
    fn within_bounds(place: (f64, f64), km: f64, (north, east): (f64, f64)) -> bool {
        let sql = bounds(place.0, place.1, km);
        let numbers: Vec<f64> = sql.split([' ', ')']).filter_map(|word| word.parse().ok()).collect();
        (numbers[0]..=numbers[1]).contains(&north)
            && (numbers.len() == 2 || numbers[2..].chunks(2).any(|range| (range[0]..=range[1]).contains(&east)))
    }

    proptest! {
        #[test]
        fn the_box_holds_the_whole_circle(
            place in (-90.0f64..=90.0, -180.0f64..=180.0),
            other in (-90.0f64..=90.0, -180.0f64..=180.0),
            km in 0.0f64..20020.0,
        ) {
            prop_assert!(distance_km(place, other) > km || within_bounds(place, km, other));
        }

        #[test]
        fn the_box_holds_near_places(
            place in (-90.0f64..=90.0, -180.0f64..=180.0),
            step in (-1.0f64..=1.0, -1.0f64..=1.0),
        ) {
            let other = ((place.0 + step.0).clamp(-90.0, 90.0), (place.1 + step.1).clamp(-180.0, 180.0));
            prop_assert!(within_bounds(place, distance_km(place, other), other));
        }
    }
}
