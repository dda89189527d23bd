internal import Architectures
internal import Formats
internal import Kernels
internal import TensorModel

/// How much of a model must be quantized; otherwise planning fails.
public enum QuantizationDemand: Sendable, Hashable {
  /// Nothing: weights that cannot be quantized are kept, with a note.
  case nothing
  /// At least one weight.
  case something
  /// Every weight that the recipe asks for.
  case everything
}

/// Checks that a quantization does what the user asked for.
extension QuantizationPlanner {
  /// Throws `unsupported` for the first weight that is kept although the recipe asks for it.
  static func checkEverything(_ wishes: [TensorWish]) throws(ModelError) {
    let kept = wishes.filter { $0.exception != nil }
    guard let first = kept.first else { return }
    throw ModelError(
      .unsupported, "--strict: the weight cannot be quantized as asked", tensor: first.source.name,
      found: first.reason
        + (kept.count > 1 ? " (and \(kept.count - 1) more such weights)" : ""),
      hint: "--rule '\(first.source.name)=keep' leaves it as it is")
  }

  /// Throws `unsupported` with the first weight of a plan that quantizes nothing, unless rules ask
  /// for that.
  mutating func checkNothing(_ wishes: [TensorWish]) throws(ModelError) {
    let weights = wishes.filter { isWeight($0.source) }
    guard weights.isEmpty || !weights.allSatisfy({ isKeptByRule($0.source) }) else { return }
    let weight =
      wishes.first { $0.exception != nil } ?? weights.first
      ?? wishes.first { $0.source.shape.rank > 1 } ?? wishes.first
    throw ModelError(
      .unsupported, "no weight of the model is quantized", tensor: weight?.source.name,
      found: weight?.reason, hint: weight.map { hint(for: $0) })
  }

  /// Whether a tensor is a weight of a linear layer, also in a tower.
  private mutating func isWeight(_ tensor: TensorInfo) -> Bool {
    [.linear, .tower].contains(roles.role(of: tensor))
  }

  /// Whether a rule asks that a tensor is not quantized.
  private func isKeptByRule(_ tensor: TensorInfo) -> Bool {
    recipe.rules.last { $0.matches(tensor.name) }.map { !$0.choice.isGrouped } ?? false
  }

  /// What a rule must say to quantize a tensor like most others.
  private var usualChoice: String {
    let base = recipe.type.flatMap { try? Mix.named($0) }?.base.name
    return base ?? recipe.mode?.name ?? String(recipe.bits ?? Recipe.usualBits)
  }

  private mutating func hint(for wish: TensorWish) -> String {
    if wish.exception == .indivisible {
      let columns = wish.source.shape.columnCount
      let size = format.groupSizes.first { columns > 0 && columns % $0 == 0 }
      let isFree = blocks == nil && mix == nil && recipe.mode == nil
      if isFree, let size { return "--group-size \(size) divides the columns" }
      if isFree, format.allowsRowGroups {
        return "--group-size row takes whole rows"
      }
      return "--to pleat --group-size row quantizes rows of any length"
    }
    if roles.role(of: wish.source) == .tower, !isKeptByRule(wish.source) {
      return "--rule '\(wish.source.name)=\(usualChoice)' quantizes it"
    }
    return "pleat convert writes a model without quantizing it"
  }
}
