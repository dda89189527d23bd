internal import Formats
internal import Quantization
public import TensorModel

extension Plan {
  /// Plans to rewrite a model in another format, weights unchanged.
  ///
  /// - Parameters:
  ///   - model: The model to read.
  ///   - type: What quantized weights are decoded to; in safetensors all floating-point tensors
  ///     become this type. nil decodes only where the format has no place for groups, to F16.
  ///   - destination: Where the result goes.
  ///   - rounding: Whether scales and biases may be rounded where the format needs it.
  ///   - droppingAdapters: Whether adapters that the model carries are left out.
  /// - Returns: The plan, which nothing has been done for yet.
  /// - Throws: `ModelError` of kind `usage` or `unsupported`.
  public static func converting(
    _ model: Model, decodingTo type: ScalarType? = nil, to destination: Destination,
    rounding: Bool = false, droppingAdapters: Bool = false
  ) throws(ModelError) -> Plan {
    let planner = ConversionPlanner(
      format: destination.format, type: type,
      retypesPlain: model.needsTranslation(to: destination.format))
    do throws(ModelError) {
      var tensors: [TensorPlan] = []
      for tensor in model.catalog.tensors { tensors.append(try planner.plan(tensor)) }
      return try Plan(
        model, tensors, to: destination, notes: notes(on: tensors),
        history: ["action": "convert", "from": .string(model.format.name)], rounding: rounding,
        attachments: droppingAdapters ? [] : nil)
    } catch {
      // A wish that cannot be granted is not the model's fault.
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }
}

extension Plan {
  /// What a user should know of weights whose whole zero points become biases.
  private static func notes(on tensors: [TensorPlan]) -> [String] {
    var types: [ScalarType: Int] = [:]
    for plan in tensors {
      guard case .shift(let target) = plan.action, target.offset == .bias,
        case .grouped(let source) = plan.source.encoding, source.offset == .zeroPoint
      else { continue }
      types[target.parameters, default: 0] += 1
    }
    return types.sorted { $0.key.name < $1.key.name }.map { type, count in
      "zero points of \(count) weight\(count == 1 ? "" : "s") become biases, each rounded once: "
        + type.roundingBound
    }
  }
}

extension ScalarType {
  /// How far a number may be from its nearest neighbour of the type, for people.
  fileprivate var roundingBound: String {
    let digits =
      switch self {
      case .f16: 11
      case .bf16: 8
      default: 24
      }
    return "to \(name), at most 2^-\(digits) of it"
  }
}

/// Decides for each tensor how it gets into another format.
///
/// Pure: it sees descriptions only.
struct ConversionPlanner {
  let format: Format
  let type: ScalarType?
  /// Whether plain numbers of models whose tensors have types of their own become the type as well.
  var retypesPlain = false

  /// What happens to one tensor.
  ///
  /// Throws `unsupported`.
  func plan(_ tensor: TensorInfo) throws(ModelError) -> TensorPlan {
    if let type, decodes(tensor, to: type) { return decoding(tensor, to: type, "--dtype") }
    switch format.admits(tensor) {
    case .exact: return carrying(tensor, "held exactly")
    case .rounded(let reason): return carrying(tensor, reason)
    case .refused(let reason):
      if let plan = gainingBias(tensor) { return plan }
      guard format.bits.isEmpty, canDecode(tensor) else {
        throw ModelError(
          .unsupported, reason, tensor: tensor.name,
          hint: canDecode(tensor) ? "--dtype F16 decodes it" : nil)
      }
      return decoding(tensor, to: type ?? .f16, reason)
    }
  }

  /// The same codes and scales with a bias for each group, where the format wants one: −scale · zero.
  ///
  /// A central zero is a power of two, so that the bias is exact; others round it, once. A format
  /// that has scales in F16 alone is checked to hold them when they are seen.
  private func gainingBias(_ tensor: TensorInfo) -> TensorPlan? {
    guard case .grouped(var grouping) = tensor.encoding, grouping.offset != .bias else {
      return nil
    }
    let isExact = grouping.offset == .none
    grouping.offset = .bias
    if case .rounded = format.admits(tensor.with(.grouped(grouping))) { grouping.parameters = .f16 }
    let target = tensor.with(.grouped(grouping))
    guard case .exact = format.admits(target) else { return nil }
    let bound = isExact ? "" : ", rounded once: \(grouping.parameters.roundingBound)"
    return TensorPlan(
      source: tensor, target: target, action: .shift(grouping),
      reason: "codes and scales kept, with a bias for each group\(bound)")
  }

  private func decodes(_ tensor: TensorInfo, to type: ScalarType) -> Bool {
    guard canDecode(tensor), tensor.encoding != .plain(type) else { return false }
    if case .plain = tensor.encoding {
      return format == .safetensors || format.usesOneFloatType || retypesPlain
    }
    return true
  }

  private func canDecode(_ tensor: TensorInfo) -> Bool {
    tensor.isGrouped || RowDecoder(tensor.encoding) != nil
  }

  private func decoding(_ tensor: TensorInfo, to type: ScalarType, _ reason: String) -> TensorPlan {
    TensorPlan(
      source: tensor, target: tensor.with(.plain(type)), action: .decode(type), reason: reason)
  }

  private func carrying(_ tensor: TensorInfo, _ reason: String) -> TensorPlan {
    TensorPlan(source: tensor, target: tensor, action: .copy, reason: reason)
  }
}
