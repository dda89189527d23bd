internal import Formats
public import TensorModel
public import Weights

extension Plan {
  /// Plans to rewrite a model in another format, weights unchanged.
  ///
  /// - Parameters:
  ///   - model: The model to read.
  ///   - type: The type that quantized weights are decoded to. Other floating-point tensors get it
  ///     too, but with the names of llama.cpp only those that a mix may round. nil decodes weights
  ///     only if the format cannot store them: groups and blocks to F16, codes with scales to the
  ///     type of the other weights.
  ///   - destination: The output.
  ///   - rounding: Whether scales and biases may be rounded if the format requires it.
  ///   - droppingAdapters: Whether adapters that the model carries are left out.
  /// - Returns: The plan. Nothing is written before it runs.
  /// - Throws: `ModelError` of kind `usage` or `unsupported`.
  public static func converting(
    _ model: Model, decodingTo type: ScalarType? = nil, to destination: Destination,
    rounding: Bool = false, droppingAdapters: Bool = false
  ) throws(ModelError) -> Plan {
    try model.requireModel()
    // Packed words that Pleat does not decode may be copied as they are, with their config, unless
    // others are decoded.
    if type != nil || !destination.format.sharesLayout(with: model.format)
      || model.catalog.tensors.contains(where: {
        $0.isScaled || $0.isGrouped && destination.format.bits.isEmpty
      })
    {
      try model.requireNumbers()
    }
    let model = try model.arranged(for: destination, numbers: type)
    var planner = ConversionPlanner(format: destination.format, type: type)
    if !destination.format.bits.isEmpty, !destination.format.usesOneFloatType {
      planner.ggufArchitecture = model.catalog.metadata["general.architecture"]?.text
    }
    planner.keepsScaleType = model.format.bits.isEmpty
    do throws(ModelError) {
      let head =
        model.packedFault == nil ? try HeadPlan(model, to: destination.format) : HeadPlan()
      var wishes = try planner.decide(model)
      if let added = head.added {
        var wish = try planner.decide(added.info)
        wish.sourceIndex = added.source
        wishes.append(wish)
      }
      return try Plan(
        model, wishes, to: destination, notes: notes(on: wishes) + planner.notes(on: wishes),
        history: ["action": "convert", "from": .string(model.format.name)], head: head,
        rounding: rounding,
        attachments: droppingAdapters ? [] : nil)
    } catch {
      // A usage error is about the options, so it does not name the model.
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }
}

extension Plan {
  /// A note for each type of biases that replace zero points.
  private static func notes(on wishes: [TensorWish]) -> [String] {
    var types: [ScalarType: Int] = [:]
    for wish in wishes {
      guard case .regroup(let target, _) = wish.transform, target.offset == .bias,
        case .grouped(let source) = wish.source.encoding, source.offset == .zeroPoint
      else { continue }
      types[target.parameters, default: 0] += 1
    }
    return types.sorted { $0.key.name < $1.key.name }.map { type, count in
      "zero points of \(count) weight\(count == 1 ? "" : "s") become biases, each rounded once "
        + type.roundingBound
    }
  }
}

extension ScalarType {
  /// A text that names the type and the largest relative error of rounding to it.
  fileprivate var roundingBound: String {
    let digits =
      switch self {
      case .f16: 11
      case .bf16: 8
      default: 24
      }
    return "to \(name) (relative error at most 2^-\(digits))"
  }
}

/// Decides for each tensor how it is written in another format.
///
/// It sees descriptions only, and reads nothing.
package struct ConversionPlanner {
  let format: Format
  let type: ScalarType?
  /// The architecture of a model that keeps the names of llama.cpp, which needs some of its tensors
  /// in F32.
  var ggufArchitecture: String?
  /// Whether groups are decoded to the type of their scales instead of F16.
  ///
  /// Tools whose groups no format stores decode weights to that type.
  var keepsScaleType = false

  package init(format: Format, type: ScalarType?) {
    self.format = format
    self.type = type
  }

  /// The decisions for the tensors of a model, in order.
  ///
  /// Throws `unsupported` if the format cannot store a tensor.
  func decide(_ model: Model) throws(ModelError) -> [TensorWish] {
    let isGGUF = model.isGGUF
    var shared = SharedDecisions<TensorForm>()
    var wishes: [TensorWish] = []
    wishes.reserveCapacity(model.catalog.tensors.count)
    for (index, tensor) in model.catalog.tensors.enumerated() {
      if isGGUF {
        // It depends on the name.
        wishes.append(
          try model.isView(index)
            ? decideArranged(tensor, isDecoded: model.isDecodedView(index)) : decide(tensor))
      } else if let known = shared.wish(named: tensor.name, on: tensor.form) {
        wishes.append(known)
      } else {
        wishes.append(shared.keep(try decide(tensor), on: tensor.form))
      }
    }
    return wishes
  }

  /// The decision for one tensor.
  ///
  /// Throws `unsupported` if the format cannot store the tensor.
  package func decide(_ tensor: TensorInfo) throws(ModelError) -> TensorWish {
    var wish = try choose(tensor)
    wish.refusalHint = decodingHint(tensor)
    return wish
  }

  /// The decision for a tensor that is arranged in another way than in the GGUF file.
  ///
  /// `isDecoded` is whether its numbers are those of groups or blocks. Groups are decoded if the
  /// format has none for the shape, such as that of a stack. Throws `unsupported` if the format
  /// cannot store the tensor.
  package func decideArranged(
    _ tensor: TensorInfo, isDecoded: Bool
  ) throws(ModelError) -> TensorWish {
    if isDecoded, type == nil, tensor.encoding == .plain(.f32) {
      return TensorWish(decoding: tensor, to: .f16, Self.decodedReason)
    }
    if type == nil, case .grouped(let grouping) = tensor.encoding,
      format.codec.shapeRefusal(tensor.shape, grouping) != nil
    {
      return TensorWish(decoding: tensor, to: .f16, Self.shapeReason)
    }
    return try decide(tensor)
  }

  private static let decodedReason = "decoded, to be arranged in another way"
  private static let shapeReason = "decoded, because the format has no groups for its shape"

  /// Notes about arranged tensors of a GGUF file that do not keep their codes.
  func notes(on wishes: [TensorWish]) -> [String] {
    guard !format.bits.isEmpty else { return [] }
    let reasons = [
      (Self.decodedReason, "transformers has other numbers together in a row"),
      (Self.shapeReason, "\(format.name) has no groups for their shape"),
    ]
    return reasons.compactMap { reason, text in
      let decoded = wishes.filter { $0.reason == reason }
      return decoded.first.map {
        "\(decoded.count) weight\(decoded.count == 1 ? " is" : "s are") decoded, because \(text), "
          + "such as \($0.source.name)"
      }
    }
  }

  private func choose(_ tensor: TensorInfo) throws(ModelError) -> TensorWish {
    if let type, decodes(tensor, to: type) {
      return TensorWish(decoding: tensor, to: type, "requested by --dtype")
    }
    switch format.carries(tensor.encoding) {
    case .exact: return TensorWish(keeping: tensor, "stored exactly")
    case .rounded(let reason): return TensorWish(keeping: tensor, reason)
    case .refused(let reason):
      let kept = "the same codes and scales"
      if let wish = TensorWish(rearranging: tensor, for: format, kept) { return wish }
      if let wish = gainingZeroPoint(tensor) ?? gainingBias(tensor) { return wish }
      guard format.bits.isEmpty || tensor.isScaled, tensor.isDecodable else {
        throw ModelError(
          .unsupported, reason, tensor: tensor.name, hint: decodingHint(tensor))
      }
      let usual = keepsScaleType ? tensor.encoding.decodedType : tensor.scaled?.decoded
      return TensorWish(decoding: tensor, to: type ?? usual ?? .f16, reason)
    }
  }

  private func decodingHint(_ tensor: TensorInfo) -> String? {
    tensor.isDecodable ? "pleat convert --dtype F16 decodes it" : nil
  }

  /// The same codes and scales, with a zero point for each group.
  ///
  /// The zero point is the central code. nil if the weight stores an offset already, if its groups
  /// are scattered, or if the format cannot store the result.
  private func gainingZeroPoint(_ tensor: TensorInfo) -> TensorWish? {
    guard case .grouped(var grouping) = tensor.encoding, grouping.offset == .none,
      !grouping.isScattered
    else { return nil }
    grouping.offset = .zeroPoint
    if case .refused = format.carries(.grouped(grouping)) { return nil }
    return TensorWish(
      regrouping: tensor, to: grouping,
      "unchanged codes and scales, with a zero point for each group")
  }

  /// The same codes and scales, with the bias −scale · zero point for each group.
  ///
  /// nil if the weight has biases already, if its groups are scattered, or if the format cannot
  /// store the result. If no zero point is stored, it is the central code. That is a power of two,
  /// so the bias is exact. Otherwise the bias is rounded once. If the format stores scales in F16
  /// only, the run checks that F16 represents them exactly.
  private func gainingBias(_ tensor: TensorInfo) -> TensorWish? {
    guard case .grouped(var grouping) = tensor.encoding, grouping.offset != .bias,
      !grouping.isScattered
    else { return nil }
    let isExact = grouping.offset == .none
    grouping.offset = .bias
    grouping.hasFractionalZeroPoints = false
    if case .rounded = format.carries(.grouped(grouping)) { grouping.parameters = .f16 }
    guard case .exact = format.carries(.grouped(grouping)) else { return nil }
    let bound = isExact ? "" : ", rounded once \(grouping.parameters.roundingBound)"
    return TensorWish(
      regrouping: tensor, to: grouping,
      "unchanged codes and scales, with a bias for each group\(bound)")
  }

  private func decodes(_ tensor: TensorInfo, to type: ScalarType) -> Bool {
    guard tensor.isDecodable, tensor.encoding != .plain(type) else { return false }
    guard case .plain = tensor.encoding, let ggufArchitecture else { return true }
    return NeverQuantized.reason(tensor, architecture: ggufArchitecture) == nil
  }
}
