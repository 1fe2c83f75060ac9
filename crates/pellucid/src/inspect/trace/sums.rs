//! What a number is a sum of, or the largest of.

use pellucid_graph::window::{FixedAxis, Window};
use pellucid_graph::{Dim, Node, ValueId};

use super::super::pass::unravel;
use super::{Sum, Term, Tracer, Winner, wrong};
use crate::error::Error;

impl Tracer<'_> {
    /// What makes a number: a sum or a window.
    pub(super) fn made(
        &self,
        value: ValueId,
        place: &[usize],
        bias: Option<f64>,
    ) -> Result<(Option<Sum>, Option<Winner>), Error> {
        let graph = self.graph();
        let Some(id) = graph.producer_of(value) else { return Ok((None, None)) };
        let node = graph.node(id);
        if node.operator == "MaxPool" {
            return self.winner(node, place).map(|winner| (None, Some(winner)));
        }
        let mut sum = match node.operator.as_str() {
            "Gemm" | "MatMul" => self.dense(node, place)?,
            "Conv" => self.convolution(node, place)?,
            "GlobalAveragePool" => self.average(node, place)?,
            "Add" | "Sum" => self.addends(node, place)?,
            other => {
                return Err(wrong(format!(
                    "{:?} is computed by {other}, which is not taken apart; name a neuron of a convolution, a fully \
                     connected layer, an activation function behind one, or a pooling",
                    self.name(value)
                )));
            }
        };
        sum.bias = match (sum.bias, bias) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
        sum.total = sum.bias.unwrap_or(0.0) + sum.terms.iter().map(|term| term.product).sum::<f64>();
        sum.computed = self.number(value, place)? + bias.unwrap_or(0.0);
        if let Some(delta) = self.looked.error(self.name(value), place) {
            for term in &mut sum.terms {
                term.gradient = Some(delta * term.input);
            }
        }
        sum.terms
            .sort_by(|a, b| b.product.abs().total_cmp(&a.product.abs()).then_with(|| a.place.cmp(&b.place)));
        Ok((Some(sum), None))
    }

    fn begun(&self, node: &Node, weight: Option<ValueId>) -> Sum {
        Sum {
            kind: node.operator.clone(),
            takes: node.input(0).map(|id| self.name(id).to_owned()).unwrap_or_default(),
            weight: weight.map(|id| self.name(id).to_owned()).unwrap_or_default(),
            window: Vec::new(),
            bias: None,
            terms: Vec::new(),
            total: 0.0,
            computed: 0.0,
        }
    }

    fn weight(&self, node: &Node) -> Result<(ValueId, Vec<usize>, Vec<f64>), Error> {
        let id = node.input(1).ok_or_else(|| wrong(format!("{} has no weight", node.operator)))?;
        let tensor = self.graph().constant(id).ok_or_else(|| {
            wrong(format!("the weight of {:?} is computed, and is not taken apart", node.operator))
        })?;
        Ok((id, tensor.shape().to_vec(), tensor.to_f64()))
    }

    /// Σ x[…, k] · w[k, j], or w[j, k] where the weight is transposed.
    fn dense(&self, node: &Node, place: &[usize]) -> Result<Sum, Error> {
        let (id, shape, weights) = self.weight(node)?;
        let x = node.input(0).ok_or_else(|| wrong("a product of nothing".to_owned()))?;
        let ([rows, columns], Some((unit, before))) = (shape.as_slice(), place.split_last()) else {
            return Err(wrong("a product with more than a matrix is not taken apart".to_owned()));
        };
        let transposed = node.operator == "Gemm" && node.int("transB", 0) != 0;
        let (inner, outer) = if transposed { (*columns, *rows) } else { (*rows, *columns) };
        if *unit >= outer || (node.operator == "Gemm" && node.int("transA", 0) != 0) {
            return Err(wrong(format!("place {place:?} is not one of {outer} units")));
        }
        let factor =
            |name: &str| if node.operator == "Gemm" { f64::from(node.float(name, 1.0)) } else { 1.0 };
        let mut sum = self.begun(node, Some(id));
        for k in 0..inner {
            let weight_place = if transposed { vec![*unit, k] } else { vec![k, *unit] };
            let input_place: Vec<usize> = before.iter().copied().chain([k]).collect();
            let weight = factor("alpha") * weights[weight_place[0] * columns + weight_place[1]];
            let input = self.number(x, &input_place)?;
            let product = input * weight;
            sum.terms.push(Term { place: input_place, weight_place, input, weight, product, gradient: None });
        }
        if let Some(constant) = node.input(2).filter(|_| node.operator == "Gemm")
            && let Some(output) = node.output(0)
        {
            sum.bias = Some(factor("beta") * self.broadcast(constant, output, place)?);
        }
        Ok(sum)
    }

    /// Σ over channels c of the group and offsets k of x[c, position] · w[o, c, k].
    fn convolution(&self, node: &Node, place: &[usize]) -> Result<Sum, Error> {
        let (id, shape, weights) = self.weight(node)?;
        let x = node.input(0).ok_or_else(|| wrong("a convolution of nothing".to_owned()))?;
        let axes = self.windows(x, |space| {
            let kernel: Option<Vec<i64>> = shape[2..].iter().map(|size| i64::try_from(*size).ok()).collect();
            Window::of_conv(node, space, &kernel?).ok()
        })?;
        let (Some((unit, at)), [units, channels, kernel @ ..]) = (place.split_first(), shape.as_slice())
        else {
            return Err(wrong("a place of a convolution has a channel and a position".to_owned()));
        };
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(1).max(1);
        let first = unit / (units / groups).max(1) * channels;
        let places: usize = kernel.iter().product();
        let mut sum = self.begun(node, Some(id));
        for channel in 0..*channels {
            for offset in 0..places {
                let within = unravel(offset, kernel);
                let Some(position) = positions(&axes, at, &within) else { continue };
                let input_place: Vec<usize> =
                    std::iter::once(first + channel).chain(position.iter().copied()).collect();
                let weight = weights[(unit * channels + channel) * places + offset];
                let input = self.number(x, &input_place)?;
                let weight_place = [vec![*unit, channel], within].concat();
                let product = input * weight;
                sum.terms.push(Term {
                    place: input_place,
                    weight_place,
                    input,
                    weight,
                    product,
                    gradient: None,
                });
            }
        }
        for axis in 0..axes.len() {
            let along = || sum.terms.iter().map(|term| term.place[axis + 1]);
            sum.window.extend(along().min().zip(along().max()));
        }
        let bias = node.input(2).and_then(|id| self.graph().constant(id));
        sum.bias = bias.and_then(|tensor| tensor.to_f64().get(*unit).copied());
        Ok(sum)
    }

    fn windows(
        &self,
        x: ValueId,
        of: impl FnOnce(&[Dim]) -> Option<Window>,
    ) -> Result<Vec<FixedAxis>, Error> {
        let shape = self.graph().value(x).shape.clone().unwrap_or_default();
        let window = shape.get(2..).and_then(of).and_then(|window| window.fixed());
        window.ok_or_else(|| wrong(format!("the windows in {:?} are not known", self.name(x))))
    }

    fn winner(&self, node: &Node, place: &[usize]) -> Result<Winner, Error> {
        let x = node.input(0).ok_or_else(|| wrong("a pooling of nothing".to_owned()))?;
        let axes = self.windows(x, |space| Window::of_pool(node, space).ok())?;
        let (channel, at) = place.split_first().ok_or_else(|| wrong("a place has a channel".to_owned()))?;
        let kernel: Vec<usize> = axes.iter().map(|axis| usize::try_from(axis.kernel).unwrap_or(0)).collect();
        let mut window = Vec::new();
        for offset in 0..kernel.iter().product() {
            let Some(position) = positions(&axes, at, &unravel(offset, &kernel)) else { continue };
            let place: Vec<usize> = std::iter::once(*channel).chain(position).collect();
            window.push((place.clone(), self.number(x, &place)?));
        }
        window.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(Winner { takes: self.name(x).to_owned(), window })
    }

    fn average(&self, node: &Node, place: &[usize]) -> Result<Sum, Error> {
        let x = node.input(0).ok_or_else(|| wrong("an average of nothing".to_owned()))?;
        let shape = self.looked.value(self.name(x)).map(|array| array.shape().to_vec()).unwrap_or_default();
        let space = shape.get(2..).unwrap_or_default();
        let count: usize = space.iter().product();
        let mut sum = self.begun(node, None);
        let weight = 1.0 / count.max(1) as f64;
        for position in 0..count {
            let input_place: Vec<usize> =
                place.iter().take(1).copied().chain(unravel(position, space)).collect();
            let input = self.number(x, &input_place)?;
            let product = input * weight;
            let weight_place = Vec::new();
            sum.terms.push(Term { place: input_place, weight_place, input, weight, product, gradient: None });
        }
        Ok(sum)
    }

    /// Values of one shape that are added.
    fn addends(&self, node: &Node, place: &[usize]) -> Result<Sum, Error> {
        let mut sum = self.begun(node, None);
        let names: Vec<&str> = node.inputs.iter().flatten().map(|id| self.name(*id)).collect();
        sum.takes = names.join(" + ");
        for id in node.inputs.iter().flatten() {
            let input = self.number(*id, place)?;
            let (place, weight_place) = (place.to_vec(), Vec::new());
            sum.terms.push(Term { place, weight_place, input, weight: 1.0, product: input, gradient: None });
        }
        Ok(sum)
    }
}

/// The position in the input under an offset of a window; `None` in the padding.
fn positions(axes: &[FixedAxis], at: &[usize], within: &[usize]) -> Option<Vec<usize>> {
    let along = axes.iter().zip(at.iter().zip(within));
    along
        .map(|(axis, (o, k))| {
            let position = axis.position(i64::try_from(*o).ok()?, i64::try_from(*k).ok()?)?;
            usize::try_from(position).ok()
        })
        .collect()
}
