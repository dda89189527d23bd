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
      format: destination.format, type: type, roundsOffsets: rounding,
      retypesPlain: model.needsTranslation(to: destination.format))
    do throws(ModelError) {
      var tensors: [TensorPlan] = []
      for tensor in model.catalog.tensors { tensors.append(try planner.plan(tensor)) }
      return try Plan(
        model, tensors, to: destination, notes: [],
        history: ["action": "convert", "from": .string(model.format.name)], rounding: rounding,
        attachments: droppingAdapters ? [] : nil)
    } catch {
      // A wish that cannot be granted is not the model's fault.
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }
}

/// Decides for each tensor how it gets into another format.
///
/// Pure: it sees descriptions only.
struct ConversionPlanner {
  let format: Format
  let type: ScalarType?
  /// Whether biases may be rounded where weights have zero points.
  var roundsOffsets = false
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
      if let plan = try gainingBias(tensor) { return plan }
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
  /// A central zero is a power of two, so that the bias is exact; others round it. Throws
  /// `unsupported` when that is not permitted.
  private func gainingBias(_ tensor: TensorInfo) throws(ModelError) -> TensorPlan? {
    guard case .grouped(var grouping) = tensor.encoding, grouping.offset != .bias else {
      return nil
    }
    let isExact = grouping.offset == .none
    grouping.offset = .bias
    let target = tensor.with(.grouped(grouping))
    guard case .exact = format.admits(target) else { return nil }
    guard isExact || roundsOffsets else {
      throw ModelError(
        .unsupported,
        "the zero points become biases, which are rounded to "
          + grouping.parameters.name, tensor: tensor.name, hint: "pleat convert --round permits it")
    }
    return TensorPlan(
      source: tensor, target: target, action: .shift(grouping),
      reason: "codes and scales kept, with a bias for each group")
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
