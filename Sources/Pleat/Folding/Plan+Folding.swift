internal import Adapters
internal import Bytes
internal import Formats
public import TensorModel
public import Weights

extension Plan {
  /// Plans to fold adapters into a model.
  ///
  /// It reads only weights that an adapter both replaces and changes. If the fold is not exact, `measuredLoss` measures the loss, and
  /// `checkPermits` throws if the options do not permit it.
  ///
  /// - Parameters:
  ///   - adapters: The adapters, in the order in which they are applied.
  ///   - model: The base model.
  ///   - destination: The output.
  ///   - options: Options for folds that are not exact.
  /// - Returns: The plan. Nothing is written before it runs.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`.
  public static func folding(
    _ adapters: [AppliedAdapter], into model: Model, to destination: Destination,
    options: FoldOptions = FoldOptions()
  ) throws(ModelError) -> Plan {
    try model.requireNumbers()
    let model = try model.arranged(for: destination)
    let changes = try model.changes(by: adapters)
    if destination.format.usesGGUFNames {
      try model.checkAreStored(changes.keys.filter(model.isView))
    }
    var options = options
    if options.biasType == nil, !options.dequantizes,
      needsFinerBiases(model, changes, destination.format)
    {
      options.biasType = .f16
    }
    let draft = FoldDraft(adapters, model, destination, options, changes)
    do throws(ModelError) {
      return try draft.plan()
    } catch {
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }

  /// Whether a fold with BF16 biases should store F16, which is finer, if the user names no type.
  ///
  /// Only for formats that have one type for all numbers: the complete model changes its type.
  private static func needsFinerBiases(
    _ model: Model, _ changes: [Int: [PairedChange]], _ format: Format
  ) -> Bool {
    guard format.usesOneFloatType, format.holds(.bias) else { return false }
    return changes.contains { index, changes in
      guard index < model.unstoredHeadIndex,
        case .grouped(let grouping) = model.catalog.tensors[index].encoding
      else { return false }
      return grouping.parameters == .bf16 && changes.allSatisfy { $0.groupSize != nil }
    }
  }
}

/// A fold whose decisions are checked before they become a plan.
private struct FoldDraft {
  private let adapters: [AppliedAdapter]
  private let model: Model
  private let destination: Destination
  private let options: FoldOptions
  private let changes: [Int: [PairedChange]]

  init(
    _ adapters: [AppliedAdapter], _ model: Model, _ destination: Destination,
    _ options: FoldOptions, _ changes: [Int: [PairedChange]]
  ) {
    self.adapters = adapters
    self.model = model
    self.destination = destination
    self.options = options
    self.changes = changes
  }

  func plan() throws(ModelError) -> Plan {
    let planner = FoldPlanner(destination.format, options)
    var decisions: [FoldPlanner.Decision] = []
    decisions.reserveCapacity(model.catalog.tensors.count)
    var shared = SharedDecisions<TensorForm>()
    for (index, tensor) in model.catalog.tensors.enumerated() {
      if let changes = changes[index], !changes.isEmpty {
        decisions.append(try planner.decide(tensor, changes))
      } else if let known = shared.wish(named: tensor.name, on: tensor.form) {
        decisions.append(FoldPlanner.Decision(wish: known, verdict: .exact))
      } else {
        let decision = try planner.decide(tensor, [])
        decisions.append(decision)
        shared.keep(decision.wish, on: tensor.form)
      }
    }
    let head = try HeadPlan(model, changes, by: adapters, to: destination.format)
    if let added = head.added {
      var decision = try planner.decide(added.info, added.changes)
      decision.wish.sourceIndex = added.source
      decisions.append(decision)
    }
    try checkRefusals(decisions)
    try checkOptions(decisions)
    return try Plan(
      model, decisions.map(\.wish), to: destination, notes: notes(decisions),
      history: ["action": "fold", "adapters": .array(adapters.map(\.record))], head: head,
      rounding: options.rounds, adapters: adapters,
      missingPermit: missingPermit(decisions))
  }

  /// Throws one `unsupported` for all tensors that cannot be folded into.
  private func checkRefusals(_ decisions: [FoldPlanner.Decision]) throws(ModelError) {
    var reasons: [String: [String]] = [:]
    for decision in decisions {
      if case .refused(let reason) = decision.verdict {
        reasons[reason, default: []].append(decision.wish.source.name)
      }
    }
    guard !reasons.isEmpty else { return }
    let parts = reasons.sorted { $0.key < $1.key }.map { reason, names in
      "\(names[0])\(names.count > 1 ? " and \(names.count - 1) more" : ""): \(reason)"
    }
    throw ModelError(
      .unsupported, "the adapter cannot be folded into the base model",
      found: parts.joined(separator: "; "))
  }

  /// Throws `usage` for options that have no effect.
  private func checkOptions(_ decisions: [FoldPlanner.Decision]) throws(ModelError) {
    let shifts = decisions.contains {
      if case .regroup = $0.wish.transform { true } else { false }
    }
    if let type = options.biasType, !shifts {
      throw ModelError(
        .usage, "--bias-type has no effect, because the fold changes no offsets",
        found: "--bias-type \(type.name)", hint: "leave --bias-type out")
    }
    try checkDequantizing()
    guard let bits = options.widenedBits else { return }
    let isUsed = decisions.contains {
      guard case .regroup(let grouping, _) = $0.wish.transform,
        case .grouped(let source) = $0.wish.source.encoding
      else { return false }
      return grouping.bits > source.bits
    }
    guard !isUsed else { return }
    throw ModelError(
      .usage, "--widen has no effect, because no changed weight can be widened",
      expected: "weights with zero points and codes below \(bits) bits", found: "--widen \(bits)",
      hint: "leave --widen out")
  }

  /// Throws `usage` if `--dequantize` has no effect, or contradicts another option.
  private func checkDequantizing() throws(ModelError) {
    guard options.dequantizes else { return }
    if options.requantizes {
      throw ModelError(
        .usage, "--requantize and --dequantize exclude each other",
        hint: "--dequantize loses less; --requantize writes a smaller file")
    }
    guard model.catalog.tensors.contains(where: { $0.encoding.decodedType != nil }) else {
      throw ModelError(
        .usage, "--dequantize has no effect, because no weight of the base model is quantized",
        hint: "leave --dequantize out")
    }
    let plain = destination.format.forPlainNumbers
    guard plain == destination.format else {
      throw ModelError(
        .usage, "--dequantize writes plain numbers, and \(destination.format.name) is for groups",
        hint: "--to \(plain.name)")
    }
  }

  /// The first option that a tensor needs and that the user did not pass; nil if none is missing.
  private func missingPermit(_ decisions: [FoldPlanner.Decision]) -> MissingPermit? {
    for decision in decisions {
      guard case .rounded(let reason, let permit) = decision.verdict, !isPermitted(permit)
      else { continue }
      return MissingPermit(permit: permit, tensor: decision.wish.source.name, reason: reason)
    }
    return nil
  }

  private func isPermitted(_ permit: FoldPlanner.Permit) -> Bool {
    switch permit {
    case .requantize: options.requantizes
    case .round: options.rounds
    }
  }

  // MARK: - Notes

  private func notes(_ decisions: [FoldPlanner.Decision]) -> [String] {
    var notes = model.notes(on: adapters, changes)
    let shifted = decisions.compactMap { decision -> (Grouping, Grouping)? in
      guard case .regroup(let grouping, _) = decision.wish.transform,
        case .grouped(let source) = decision.wish.source.encoding
      else { return nil }
      return (source, grouping)
    }
    if destination.format.usesOneFloatType,
      shifted.contains(where: { $0.0.parameters == .bf16 && $0.1.parameters == .f16 })
    {
      notes.append(
        "scales, biases and plain tensors become F16, which rounds the fold 8 times finer than the "
          + "base model's BF16; --bias-type BF16 keeps BF16")
    }
    if shifted.contains(where: { $0.1.offset == .bias && $0.1.parameters == .bf16 }) {
      notes.append(
        "biases are stored in BF16, which rounds the fold 8 times coarser than F16; "
          + "--bias-type F16 avoids that")
    }
    notes += dequantizingNotes(decisions)
    let gained = shifted.count { $0.0.offset != .bias && $0.1.offset == .bias }
    if gained > 0 {
      let weights = gained == 1 ? "1 weight gets" : "\(gained) weights get"
      notes.append("\(weights) a bias for each group; codes and scales are unchanged")
    }
    return notes
  }

  /// What `--dequantize` loses: nothing of the quantization is undone, and sums are rounded.
  private func dequantizingNotes(_ decisions: [FoldPlanner.Decision]) -> [String] {
    let decoded = decisions.filter {
      $0.wish.source.encoding.decodedType != nil && $0.wish.target.encoding.decodedType == nil
    }
    guard let first = decoded.first else { return [] }
    let weights = decoded.count == 1 ? "1 weight becomes" : "\(decoded.count) weights become"
    return [
      "\(weights) \(first.wish.target.encoding), with the errors that quantizing the base model "
        + "made; the sums with the adapter are rounded once"
    ]
  }
}
