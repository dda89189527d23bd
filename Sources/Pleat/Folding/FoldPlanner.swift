package import Adapters
package import Formats
internal import Kernels
internal import Quantization
package import TensorModel
internal import Weights

/// Decides for each tensor how its changes are folded in, and how exact that is.
///
/// It sees descriptions only, and reads nothing. `formats/adapters.md` has a table of its
/// decisions.
package struct FoldPlanner: Sendable {
  private let format: Format
  private let options: FoldOptions
  private let conversion: ConversionPlanner

  package init(_ format: Format, _ options: FoldOptions = FoldOptions()) {
    self.format = format
    self.options = options
    conversion = ConversionPlanner(format: format, type: nil)
  }

  /// How exactly changes can be stored in the encoding of a tensor.
  package enum Verdict: Sendable, Hashable {
    /// The result is rounded only once, to the stored type.
    case exact
    /// More is rounded, for the given reason; `permit` is the option that allows it.
    case rounded(String, permit: Permit)
    /// The changes cannot be folded in, for the given reason.
    case refused(String)
  }

  /// An option that permits a fold that is not exact.
  package enum Permit: String, Sendable, Hashable {
    case requantize = "--requantize"
    case round = "--round"
  }

  /// A decision for one tensor.
  package struct Decision: Sendable {
    package var wish: TensorWish
    package var verdict: Verdict
  }

  /// The decision for one tensor.
  ///
  /// Throws `unsupported` if the format cannot store a tensor that no adapter changes.
  package func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange]
  ) throws(ModelError) -> Decision {
    guard !changes.isEmpty else {
      return Decision(wish: try unchanged(tensor), verdict: .exact)
    }
    if changes.dropFirst().contains(where: \.isReplacement) {
      return refuse(tensor, "an adapter replaces a tensor that an earlier adapter changes")
    }
    switch tensor.encoding {
    case .plain(.f64):
      return refuse(
        tensor, "F64 would be rounded to F32 (convert the base model with --dtype F32 first)")
    case .plain(let own) where own.isDecodable:
      let type = commonType ?? own
      var decision = decide(
        tensor, .plain(type), .encode(changes.map { .adapter($0) }, .plain(type)), .exact)
      decision.wish.grow(for: changes)
      return decision
    case .plain(let type):
      return refuse(tensor, "Pleat cannot fold into \(type.name)")
    case .foreign, .grouped, .scaled:
      return decideQuantized(tensor, changes)
    }
  }

  /// The decision for a quantized tensor.
  private func decideQuantized(_ tensor: TensorInfo, _ changes: [PairedChange]) -> Decision {
    if let decision = requantizeScaled(tensor, changes) { return decision }
    // Codes with scales have no offsets that could change, so they are decoded.
    if options.dequantizes || tensor.isScaled, let type = tensor.encoding.decodedType {
      var decision = decide(
        tensor, .plain(type), .encode(changes.map { .adapter($0) }, .plain(type)), .exact)
      decision.wish.grow(for: changes)
      return decision
    }
    if changes.contains(where: \.isReplacement) {
      return refuse(
        tensor, "the adapter replaces a quantized tensor with a 16-bit tensor (--dequantize)")
    }
    switch tensor.encoding {
    case .grouped(let grouping): return decide(tensor, changes, grouping)
    case .foreign(let layout): return decide(tensor, changes, layout)
    case .plain, .scaled: return refuse(tensor, "it is not quantized")
    }
  }

  /// The decision for codes with scales that the user permits to quantize again; nil if Pleat does
  /// not make such codes, or the output does not store them.
  private func requantizeScaled(_ tensor: TensorInfo, _ changes: [PairedChange]) -> Decision? {
    guard options.requantizes, !options.dequantizes, let codes = tensor.scaled,
      let mode = ScaledMode(codes), case .exact = format.carries(tensor.encoding),
      !changes.contains(where: \.isReplacement)
    else { return nil }
    let encoder = ScaledEncoder(mode, ofWeightsIn: .f32, decoded: codes.decoded)
    var decision = decide(
      tensor, tensor.encoding, .encode(changes.map { .adapter($0) }, .scaled(encoder)),
      .rounded("codes and scales are chosen anew", permit: .requantize))
    decision.wish.grow(for: changes)
    return decision
  }

  /// The decision for blocks of llama.cpp: those with minima can take pooled adapters, rounded.
  private func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ layout: BlockLayout
  ) -> Decision {
    guard let type = BlockType(layout) else {
      return refuse(
        tensor, "Pleat cannot fold into \(layout.name) (start from the 16-bit model instead)")
    }
    guard let size = type.minimumSize else {
      return refuse(
        tensor,
        "\(layout.name) stores no offsets (--dequantize; a base in Q4_1 or Q5_1 takes a "
          + "QA-LoRA adapter exactly)")
    }
    guard changes.allSatisfy({ $0.groupSize.map { $0 % size == 0 } ?? false }) else {
      return refuse(
        tensor,
        "Pleat folds only QA-LoRA adapters into \(layout.name), with groups that are a "
          + "multiple of \(size) inputs (--dequantize, or start from the 16-bit model)")
    }
    if case .refused(let reason) = format.carries(tensor.encoding) { return refuse(tensor, reason) }
    return decide(
      tensor, tensor.encoding, .moveMinima(changes),
      .rounded(
        "the minima of \(layout.name) are small integers, which are chosen anew; Q4_1 and Q5_1 "
          + "are exact", permit: .round))
  }

  /// The type that the user chose for all numbers; nil unless the format has one type for all.
  private var commonType: ScalarType? { format.usesOneFloatType ? options.biasType : nil }

  private func unchanged(_ tensor: TensorInfo) throws(ModelError) -> TensorWish {
    if options.dequantizes, let type = tensor.encoding.decodedType {
      return TensorWish(decoding: tensor, to: type, "decoded")
    }
    var wish = try conversion.decide(tensor)
    guard case .copy = wish.transform else { return wish }
    wish.reason = "no adapter changes it"
    guard let type = commonType else { return wish }
    let reason = "converted to the type of the changed biases"
    switch tensor.encoding {
    case .plain(let own) where own.isDecodable && own != type:
      return TensorWish(decoding: tensor, to: type, reason)
    case .grouped(var grouping) where grouping.parameters != type:
      grouping.parameters = type
      return TensorWish(regrouping: tensor, to: grouping, reason)
    default: return wish
    }
  }

  private func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping
  ) -> Decision {
    if changes.contains(where: { $0.lowRank?.magnitude != nil }) {
      return refuse(
        tensor, "DoRA scales whole rows, which needs a 16- or 32-bit base model, or --dequantize")
    }
    let groups = changes.map(\.groupSize)
    if grouping.isScattered {
      return requantize(
        tensor, changes, grouping,
        "the groups of the base model are scattered over the row (desc_act), those of the adapter "
          + "are not")
    }
    if let size = groups.compactMap({ $0 }).first(where: { $0 % grouping.groupSize != 0 }) {
      return requantize(
        tensor, changes, grouping,
        "the adapter's groups of \(size) inputs are not a multiple of the base model's groups of "
          + "\(grouping.groupSize)")
    }
    if groups.contains(nil) {
      return requantize(
        tensor, changes, grouping, "LoRA adds a different number to each weight of a group")
    }
    return shift(tensor, changes, grouping)
  }

  /// The decision for pooled inputs: one number for each group, which is added to the offset.
  private func shift(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping
  ) -> Decision {
    var target = grouping
    var verdict = Verdict.exact
    switch grouping.offset {
    case .bias: target.parameters = options.biasType ?? grouping.parameters
    case .none where format.holds(.bias):
      target.offset = .bias
      target.parameters = options.biasType ?? grouping.parameters
    case .zeroPoint where grouping.hasFractionalZeroPoints:
      // No format stores fractions. One bias replaces the zero point and the change.
      (target.offset, target.hasFractionalZeroPoints) = (.bias, false)
      target.parameters = options.biasType ?? grouping.parameters
    case .none, .zeroPoint:
      target.offset = .zeroPoint
      if let type = options.biasType {
        (target.offset, target.parameters) = (.bias, type)
      } else if !format.holds(.zeroPoint), format.holds(.bias) {
        // The format stores no zero points. One bias replaces the zero point and the change.
        target.offset = .bias
      } else {
        if let bits = options.widenedBits, bits > grouping.bits { target.bits = bits }
        verdict = .rounded("zero points are rounded to whole numbers", permit: .round)
      }
    }
    // --widen itself permits the rounding, so --round is not needed as well.
    if target.bits > grouping.bits { verdict = .exact }
    switch format.carries(.grouped(target)) {
    case .exact: break
    case .rounded(let reason):
      guard options.biasType == nil else { return refuse(tensor, reason) }
      // The biases are rounded once anyway. The run checks that F16 stores the scales exactly.
      target.parameters = .f16
    case .refused(let reason):
      return refuse(tensor, "the format cannot store the offset: \(reason)")
    }
    return decide(tensor, .grouped(target), .regroup(target, offsetMoves: changes), verdict)
  }

  private func requantize(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping, _ reason: String
  ) -> Decision {
    // Weights that are quantized again get groups of adjacent columns.
    var grouping = grouping
    grouping.isScattered = false
    if grouping.hasFractionalZeroPoints {
      grouping.hasFractionalZeroPoints = false
      if format.holds(.bias) { grouping.offset = .bias }
    }
    guard tensor.shape.columnCount % grouping.groupSize == 0 else {
      return refuse(tensor, reason)
    }
    if case .refused(let refusal) = format.carries(.grouped(grouping)) {
      return refuse(tensor, refusal)
    }
    let quantizer = Schemes.standard.quantizer(grouping)
    return decide(
      tensor, .grouped(grouping), .encode(changes.map { .adapter($0) }, .groups(quantizer)),
      .rounded(reason, permit: .requantize))
  }

  private func decide(
    _ tensor: TensorInfo, _ encoding: Encoding, _ transform: Transform, _ verdict: Verdict
  ) -> Decision {
    Decision(
      wish: TensorWish(tensor, to: encoding, transform, Self.reason(transform, on: tensor)),
      verdict: verdict)
  }

  private func refuse(_ tensor: TensorInfo, _ reason: String) -> Decision {
    Decision(wish: TensorWish(keeping: tensor, reason), verdict: .refused(reason))
  }

  private static func reason(_ transform: Transform, on tensor: TensorInfo) -> String {
    switch transform.action(on: tensor.encoding) {
    case .replace: "replaced by a tensor of the adapter"
    case .shift: "changed offsets, unchanged codes"
    case .quantize: "quantized again"
    default:
      transform.adapterEdits.count == 1
        ? "adapter added" : "\(transform.adapterEdits.count) adapters added"
    }
  }
}

extension Encoding {
  /// The type of the weights after decoding; nil if they are not quantized, or cannot be decoded.
  var decodedType: ScalarType? {
    switch self {
    case .grouped(let grouping): grouping.parameters
    case .foreign(let layout): BlockType(layout) == nil ? nil : .f16
    case .scaled(let codes): codes.decoded
    case .plain: nil
    }
  }
}
