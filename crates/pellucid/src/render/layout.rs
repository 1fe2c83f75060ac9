//! Where boxes and lines of a flow chart go: layers from top to bottom, after K. Sugiyama, S. Tagawa and M. Toda (1981),
//! Methods for visual understanding of hierarchical system structures, doi:10.1109/TSMC.1981.4308636.
//!
//! Everything is a loop: no depth of a graph is a depth of calls. Edges that go back are lines at the side.

/// Space between boxes, and between layers.
const APART: f32 = 22.0;
const BELOW: f32 = 38.0;

/// Width that a line takes where it passes boxes.
const LANE: f32 = 14.0;

/// Places of passing lines; beyond it lines go straight.
const LANES: usize = 20_000;

/// Sweeps that put the boxes of a layer in order, and that put them in line.
const SWEEPS: usize = 8;
const STEPS: usize = 14;

/// Boxes in the order in which they are computed, and which go to which.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// Width and height of every box.
    pub(super) boxes: Vec<(f32, f32)>,
    /// From box to box; those to an earlier box, or to itself, go back.
    pub(super) edges: Vec<(usize, usize)>,
}

/// What was laid out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Placed {
    /// Left and upper end of every box.
    pub(super) boxes: Vec<(f32, f32)>,
    /// Points of every edge, from the lower end of one box to the upper end of another.
    pub(super) edges: Vec<Vec<(f32, f32)>>,
    /// Width and height of all.
    pub(super) size: (f32, f32),
}

/// A box or a place that a line passes.
#[derive(Debug, Clone, Default)]
struct Node {
    rank: usize,
    width: f32,
    above: Vec<usize>,
    below: Vec<usize>,
    x: f32,
}

/// Lays out a flow. Cost: about the number of boxes and lines times the layers that the lines pass.
pub(super) fn layout(flow: &Flow) -> Placed {
    if flow.boxes.is_empty() {
        return Placed::default();
    }
    let ranks = ranks(flow);
    let (mut nodes, chains) = nodes(flow, &ranks);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); ranks.iter().max().map_or(0, |rank| rank + 1)];
    for (number, node) in nodes.iter().enumerate() {
        rows[node.rank].push(number);
    }
    order(&nodes, &mut rows);
    align(&mut nodes, &rows);
    place(flow, &mut nodes, &rows, &chains)
}

/// The layer of every box: one below the lowest of those that it is computed of.
fn ranks(flow: &Flow) -> Vec<usize> {
    let mut ranks = vec![0; flow.boxes.len()];
    let mut forward: Vec<(usize, usize)> =
        flow.edges.iter().copied().filter(|(from, to)| from < to && *to < ranks.len()).collect();
    forward.sort_unstable_by_key(|(from, to)| (*to, *from));
    for (from, to) in forward {
        ranks[to] = ranks[to].max(ranks[from] + 1);
    }
    ranks
}

/// Boxes, then the places that long lines pass; for every edge, what it goes through. Edges that go back have none.
fn nodes(flow: &Flow, ranks: &[usize]) -> (Vec<Node>, Vec<Vec<usize>>) {
    let mut nodes: Vec<Node> = flow
        .boxes
        .iter()
        .zip(ranks)
        .map(|((width, _), rank)| Node { rank: *rank, width: *width, ..Node::default() })
        .collect();
    let mut chains = Vec::with_capacity(flow.edges.len());
    for (from, to) in &flow.edges {
        if from >= to || *to >= ranks.len() {
            chains.push(Vec::new());
            continue;
        }
        let mut chain = vec![*from];
        if nodes.len() + ranks[*to] - ranks[*from] < flow.boxes.len() + LANES {
            for rank in ranks[*from] + 1..ranks[*to] {
                nodes.push(Node { rank, width: LANE, ..Node::default() });
                chain.push(nodes.len() - 1);
            }
        }
        chain.push(*to);
        for pair in chain.windows(2) {
            nodes[pair[0]].below.push(pair[1]);
            nodes[pair[1]].above.push(pair[0]);
        }
        chains.push(chain);
    }
    (nodes, chains)
}

/// Puts every layer in the order of the means of its neighbours, downwards and upwards in turn.
fn order(nodes: &[Node], rows: &mut [Vec<usize>]) {
    let mut at = vec![0f32; nodes.len()];
    let number = |row: &[usize], at: &mut [f32]| {
        for (place, node) in row.iter().enumerate() {
            at[*node] = place as f32 - row.len() as f32 / 2.0;
        }
    };
    for row in rows.iter() {
        number(row, &mut at);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let count = rows.len();
        for step in 1..count {
            let row = &mut rows[if down { step } else { count - 1 - step }];
            let mean = |node: &usize| {
                let near = if down { &nodes[*node].above } else { &nodes[*node].below };
                match near.len() {
                    0 => at[*node],
                    several => near.iter().map(|other| at[*other]).sum::<f32>() / several as f32,
                }
            };
            let mut keyed: Vec<(f32, usize)> = row.iter().map(|node| (mean(node), *node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = keyed.into_iter().map(|(_, node)| node).collect();
            number(row, &mut at);
        }
    }
}

/// Moves the boxes of every layer towards their neighbours, as far as order and room allow.
fn align(nodes: &mut [Node], rows: &[Vec<usize>]) {
    for row in rows {
        let wanted = vec![0.0; row.len()];
        settle(nodes, row, &wanted);
    }
    for step in 0..STEPS {
        let both = step >= STEPS / 2;
        for index in 0..rows.len() {
            let row = &rows[if step % 2 == 0 { index } else { rows.len() - 1 - index }];
            let wanted: Vec<f32> = row
                .iter()
                .map(|node| {
                    let node = &nodes[*node];
                    let near = match (both, step % 2 == 0) {
                        (true, _) => [&node.above[..], &node.below[..]],
                        (false, true) => [&node.above[..], &[]],
                        (false, false) => [&node.below[..], &[]],
                    };
                    let count = near.iter().map(|near| near.len()).sum::<usize>();
                    let sum: f32 = near.iter().copied().flatten().map(|other| nodes[*other].x).sum();
                    if count == 0 { node.x } else { sum / count as f32 }
                })
                .collect();
            settle(nodes, row, &wanted);
        }
    }
}

/// Puts the boxes of a layer as near to `wanted` as their order and widths allow: the mean of pushing to the right and
/// pushing to the left.
fn settle(nodes: &mut [Node], row: &[usize], wanted: &[f32]) {
    let apart = |a: usize, b: usize| f32::midpoint(nodes[a].width, nodes[b].width) + APART;
    let mut right = wanted.to_vec();
    for place in 1..row.len() {
        right[place] = right[place].max(right[place - 1] + apart(row[place - 1], row[place]));
    }
    let mut left = wanted.to_vec();
    for place in (1..row.len()).rev() {
        left[place - 1] = left[place - 1].min(left[place] - apart(row[place - 1], row[place]));
    }
    for (place, node) in row.iter().enumerate() {
        nodes[*node].x = f32::midpoint(left[place], right[place]);
    }
}

fn place(flow: &Flow, nodes: &mut [Node], rows: &[Vec<usize>], chains: &[Vec<usize>]) -> Placed {
    let left = nodes.iter().map(|node| node.x - node.width / 2.0).fold(f32::INFINITY, f32::min);
    for node in nodes.iter_mut() {
        node.x -= left;
    }
    let width = nodes.iter().map(|node| node.x + node.width / 2.0).fold(0.0, f32::max);
    let mut tops = Vec::with_capacity(rows.len());
    let mut heights = Vec::with_capacity(rows.len());
    let mut y = 0.0;
    for row in rows {
        let height =
            row.iter().filter_map(|node| flow.boxes.get(*node)).map(|size| size.1).fold(0.0, f32::max);
        tops.push(y);
        heights.push(height);
        // Many lines between two layers need room to turn.
        y += height + BELOW + (row.len() as f32).min(24.0);
    }
    let height = tops.last().copied().unwrap_or(0.0) + heights.last().copied().unwrap_or(0.0);
    let boxes: Vec<(f32, f32)> = flow
        .boxes
        .iter()
        .zip(nodes.iter())
        .map(|(size, node)| (node.x - size.0 / 2.0, tops[node.rank] + (heights[node.rank] - size.1) / 2.0))
        .collect();
    let mut lane = 0;
    let edges = flow
        .edges
        .iter()
        .zip(chains)
        .map(|((from, to), chain)| match &chain[..] {
            [] => back(flow, &boxes, (*from, *to), width, &mut lane),
            chain => {
                let mut points = Vec::with_capacity(2 * chain.len());
                for (place, node) in chain.iter().enumerate() {
                    let (x, rank) = (nodes[*node].x, nodes[*node].rank);
                    if place > 0 {
                        let top = flow.boxes.get(*node).map_or(tops[rank], |_| boxes[*node].1);
                        points.push((x, top));
                    }
                    if place + 1 < chain.len() {
                        let size = flow.boxes.get(*node);
                        let bottom = size.map_or(tops[rank] + heights[rank], |size| boxes[*node].1 + size.1);
                        points.push((x, bottom));
                    }
                }
                points
            }
        })
        .collect();
    let room = if lane > 0 { APART + LANE * lane as f32 } else { 0.0 };
    Placed { boxes, edges, size: (width + room, height) }
}

/// A line at the right side, back up.
fn back(
    flow: &Flow,
    boxes: &[(f32, f32)],
    (from, to): (usize, usize),
    width: f32,
    lane: &mut usize,
) -> Vec<(f32, f32)> {
    let (Some(start), Some(end)) = (boxes.get(from), boxes.get(to)) else { return Vec::new() };
    *lane += 1;
    let x = width + APART / 2.0 + LANE * *lane as f32;
    let middle = |number: usize, at: &(f32, f32)| at.1 + flow.boxes[number].1 / 2.0;
    let side = |number: usize, at: &(f32, f32)| at.0 + flow.boxes[number].0;
    vec![
        (side(from, start), middle(from, start)),
        (x, middle(from, start)),
        (x, middle(to, end)),
        (side(to, end), middle(to, end)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(boxes: usize, edges: &[(usize, usize)]) -> Flow {
        Flow { boxes: vec![(100.0, 40.0); boxes], edges: edges.to_vec() }
    }

    fn overlap(a: (f32, f32), b: (f32, f32)) -> bool {
        (a.0 - b.0).abs() < 100.0 && (a.1 - b.1).abs() < 40.0
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let placed = layout(&flow(4, &[(0, 1), (1, 2), (2, 3)]));
        assert!(
            placed
                .boxes
                .windows(2)
                .all(|pair| (pair[0].0 - pair[1].0).abs() < 1e-3 && pair[0].1 + 40.0 < pair[1].1)
        );
        assert_eq!(placed.edges[0], [(50.0, 40.0), (50.0, placed.boxes[1].1)]);
    }

    #[test]
    fn boxes_do_not_overlap_and_lines_go_down() {
        // A residual block beside a chain, with a line that skips three layers.
        let edges = [(0, 1), (1, 2), (2, 3), (0, 4), (3, 5), (4, 5), (0, 5), (5, 6), (1, 6)];
        let placed = layout(&flow(7, &edges));
        for a in 0..7 {
            for b in 0..a {
                assert!(!overlap(placed.boxes[a], placed.boxes[b]), "{a} {b} {:?}", placed.boxes);
            }
        }
        for (points, (from, to)) in placed.edges.iter().zip(edges) {
            assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{points:?}");
            assert!((points[0].0 - placed.boxes[from].0 - 50.0).abs() < 1e-3);
            assert!((points[points.len() - 1].1 - placed.boxes[to].1).abs() < 1e-3);
            // A long line passes no box.
            for (x, y) in &points[1..points.len() - 1] {
                let inside =
                    |at: &(f32, f32)| *x > at.0 && *x < at.0 + 100.0 && *y > at.1 && *y < at.1 + 40.0;
                assert!(!placed.boxes.iter().any(inside), "{points:?}");
            }
        }
    }

    #[test]
    fn what_goes_back_goes_along_the_side() {
        let placed = layout(&flow(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]));
        assert!(placed.edges[2].iter().all(|(x, _)| *x >= 100.0) && placed.size.0 > 120.0);
        assert_eq!(placed.edges[3].len(), 4);
    }

    #[test]
    fn ten_thousand_in_a_row_and_ten_thousand_side_by_side() {
        let chain: Vec<(usize, usize)> = (1..10_000).map(|to| (to - 1, to)).collect();
        assert_eq!(layout(&flow(10_000, &chain)).edges.len(), 9_999);
        let star: Vec<(usize, usize)> = (1..10_000).map(|to| (0, to)).collect();
        assert!(layout(&flow(10_000, &star)).size.0 > 1e6);
        // Lines that skip everything: more than there are lanes for.
        let long: Vec<(usize, usize)> =
            chain.iter().copied().chain((0..50).map(|from| (from, 9_999))).collect();
        assert_eq!(layout(&flow(10_000, &long)).boxes.len(), 10_000);
        assert_eq!(layout(&Flow::default()), Placed::default());
    }
}
