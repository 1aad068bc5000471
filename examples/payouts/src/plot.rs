//! Time against size, as SVG.

use std::{path::Path, time::Duration};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Times of both ways for a number of debentures.
pub struct Point {
    pub debentures: i64,
    pub row_by_row: Duration,
    pub in_the_database: Duration,
}

/// Draws the times on logarithmic axes.
///
/// The two ways are far apart.
pub fn draw(file: &Path, points: &[Point]) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    let picture = SVGBackend::new(file, (800, 500)).into_drawing_area();
    picture.fill(&WHITE).map_err(|error| failed(&error))?;

    let sizes = points.iter().map(size);
    let (smallest, largest) = sizes.fold((f64::MAX, 1.0_f64), |(low, high), size| (low.min(size), high.max(size)));
    let times = points.iter().flat_map(|point| [point.row_by_row, point.in_the_database]).map(seconds);
    let (shortest, longest) = times.fold((f64::MAX, 0.001_f64), |(low, high), time| (low.min(time), high.max(time)));
    let mut chart = ChartBuilder::on(&picture)
        .caption("A month's distribution", ("sans-serif", 22))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d((smallest..largest * 1.1).log_scale(), (shortest / 2.0..longest * 2.0).log_scale())
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("debentures")
        .y_desc("seconds")
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|time| format!("{time}"))
        .draw()
        .map_err(|error| failed(&error))?;

    let line = |time: fn(&Point) -> Duration| -> Vec<_> {
        points.iter().map(|point| (size(point), seconds(time(point)))).collect()
    };
    for (label, colour, line) in [
        ("a query per row", RED, line(|point| point.row_by_row)),
        ("sums in the database", BLUE, line(|point| point.in_the_database)),
    ] {
        chart
            .draw_series(line.iter().map(|&at| Circle::new(at, 3, colour.filled())))
            .map_err(|error| failed(&error))?;
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))
            .map_err(|error| failed(&error))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .map_err(|error| failed(&error))?;
    picture.present().map_err(|error| failed(&error))
}

#[allow(clippy::cast_precision_loss, reason = "a place on an axis")]
fn size(point: &Point) -> f64 {
    point.debentures as f64
}

/// The time in seconds, at least a millionth.
///
/// A logarithm needs more than nothing.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-6)
}
