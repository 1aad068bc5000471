//! Pictures of the figures.
//!
//! One SVG for each table, and one for the batches.

use std::{fs, path::Path};

use anyhow::Result;
use plotters::prelude::*;

use crate::report::{Report, Results};

/// Colours that red-green colour-blind readers can tell apart.
///
/// Okabe and Ito's palette.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(153, 153, 153),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
];

pub fn draw(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for workload in ["retweets", "flights"] {
        let results: Vec<_> = report.results.iter().filter(|results| results.case.workload == workload).collect();
        if let Some(first) = results.first() {
            let title = format!("{}: {} {workload} in one call", report.version, grouped(first.case.rows));
            bars(&folder.join(format!("{}-{workload}.svg", report.database)), &title, &results)?;
        }
    }
    let batches: Vec<_> = report.results.iter().filter(|results| results.case.batch.is_some()).collect();
    if !batches.is_empty() {
        let title = format!("{}: batches of retweets, none of them there", report.version);
        lines(&folder.join(format!("{}-batches.svg", report.database)), &title, &batches)?;
    }
    Ok(())
}

/// Draws a group of bars for each case.
fn bars(file: &Path, title: &str, results: &[&Results]) -> Result<()> {
    let area = SVGBackend::new(file, (1_000, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let most =
        results.iter().flat_map(|results| &results.contenders).map(|figure| figure.median_ms).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..results.len() as f64, 0.0..most * 1.05)?;
    let label = |at: &f64| {
        let case = results.get(*at as usize).map(|results| &results.case);
        case.map_or(String::new(), |case| format!("{} % there, {}", case.percent, case.order.unwrap_or_default()))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(results.len() * 2 + 1)
        .x_label_formatter(&|at| if (at.fract() - 0.5).abs() < 0.01 { label(at) } else { String::new() })
        .y_desc("milliseconds")
        .draw()?;
    let names: Vec<_> =
        results.iter().take(1).flat_map(|results| &results.contenders).map(|figure| &figure.name).collect();
    let width = 0.8 / names.len() as f64;
    for (number, name) in names.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let bars = results.iter().enumerate().filter_map(|(group, results)| {
            let figure = results.contenders.iter().find(|figure| figure.name == **name)?;
            let left = group as f64 + 0.1 + width * number as f64;
            Some(Rectangle::new([(left, 0.0), (left + width * 0.9, figure.median_ms)], colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(name.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Draws a line per contender, from the smallest batch to the largest.
fn lines(file: &Path, title: &str, results: &[&Results]) -> Result<()> {
    let least_there = results.iter().map(|results| results.case.percent).min().unwrap_or_default();
    let results: Vec<_> = results.iter().filter(|results| results.case.percent == least_there).collect();
    let area = SVGBackend::new(file, (1_000, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let times = || results.iter().flat_map(|results| &results.contenders).map(|figure| figure.median_ms);
    let (least, most) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    let rows = || results.iter().map(|results| results.case.rows as f64);
    let (fewest, largest) = (rows().fold(f64::INFINITY, f64::min), rows().fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d((fewest..largest).log_scale(), (least * 0.8..most * 1.25).log_scale())?;
    chart.configure_mesh().x_desc("rows in a call").y_desc("milliseconds a call").draw()?;
    let names: Vec<_> =
        results.iter().take(1).flat_map(|results| &results.contenders).map(|figure| &figure.name).collect();
    for (number, name) in names.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<_> = results
            .iter()
            .filter_map(|results| {
                let figure = results.contenders.iter().find(|figure| figure.name == **name)?;
                Some((results.case.rows as f64, figure.median_ms))
            })
            .collect();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
