internal import Adapters
internal import Bytes
internal import Formats
public import TensorModel

extension Plan {
  /// Plans to fold adapters into a model.
  ///
  /// Where a fold is not exact and not permitted, the weights are read to find out what it would
  /// cost, and the error says so.
  ///
  /// - Parameters:
  ///   - uses: The adapters, in the order in which they act.
  ///   - model: The base.
  ///   - destination: Where the result goes.
  ///   - options: What is permitted beside exact folds.
  /// - Returns: The plan, which nothing has been done for yet.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`, and what reading throws.
  public static func folding(
    _ uses: [AdapterUse], into model: Model, to destination: Destination,
    options: FoldOptions = FoldOptions()
  ) throws(ModelError) -> Plan {
    let changes = try model.changes(by: uses)
    var options = options
    if options.biasType == nil, needsFinerBiases(model, changes, destination.format) {
      options.biasType = .f16
    }
    let draft = FoldDraft(uses, model, destination, options, changes)
    do throws(ModelError) {
      return try draft.plan()
    } catch {
      throw error.kind == .usage ? error : error.located(file: model.path)
    }
  }

  /// Whether biases should leave BF16 without being asked: where one type for all numbers is wanted,
  /// the model can change as a whole.
  private static func needsFinerBiases(
    _ model: Model, _ changes: [Int: [PairedChange]], _ format: Format
  ) -> Bool {
    guard format.usesOneFloatType, format.holds(.bias) else { return false }
    return changes.contains { index, changes in
      guard case .grouped(let grouping) = model.catalog.tensors[index].encoding else {
        return false
      }
      return grouping.parameters == .bf16 && changes.allSatisfy { $0.groupSize != nil }
    }
  }

  /// Whether adapters lose more than the rounding of the stored type: by rounding codes, or zeros.
  public var isLossy: Bool {
    tensors.contains { plan in
      guard !plan.changes.isEmpty, plan.source.isGrouped else { return false }
      switch plan.action {
      case .quantize: return true
      case .shift(let grouping): return grouping.offset == .zeroPoint
      default: return false
      }
    }
  }
}

/// The decisions about all tensors of a fold, before they become a plan.
private struct FoldDraft {
  private let uses: [AdapterUse]
  private let model: Model
  private let destination: Destination
  private let options: FoldOptions
  private let changes: [Int: [PairedChange]]

  init(
    _ uses: [AdapterUse], _ model: Model, _ destination: Destination, _ options: FoldOptions,
    _ changes: [Int: [PairedChange]]
  ) {
    self.uses = uses
    self.model = model
    self.destination = destination
    self.options = options
    self.changes = changes
  }

  func plan() throws(ModelError) -> Plan {
    let planner = FoldPlanner(destination.format, options)
    var decisions: [FoldPlanner.Decision] = []
    for (index, tensor) in model.catalog.tensors.enumerated() {
      decisions.append(try planner.decide(tensor, changes[index] ?? []))
    }
    try checkRefusals(decisions)
    try checkOptions(decisions)
    let plan = try Plan(
      model, decisions.map(\.plan), to: destination, notes: notes(decisions),
      history: ["action": "fold", "adapters": .array(uses.map(\.record))],
      rounding: options.rounds, adapters: uses)
    try checkPermits(decisions, plan)
    return plan
  }

  /// Throws for all tensors that cannot be folded into, at once.
  private func checkRefusals(_ decisions: [FoldPlanner.Decision]) throws(ModelError) {
    var reasons: [String: [String]] = [:]
    for decision in decisions {
      if case .refused(let reason) = decision.admission {
        reasons[reason, default: []].append(decision.plan.source.name)
      }
    }
    guard !reasons.isEmpty else { return }
    let parts = reasons.sorted { $0.key < $1.key }.map { reason, names in
      "\(names[0])\(names.count > 1 ? " and \(names.count - 1) more" : ""): \(reason)"
    }
    throw ModelError(
      .unsupported, "the adapter cannot be folded into the base",
      found: parts.joined(separator: "; "))
  }

  private func checkOptions(_ decisions: [FoldPlanner.Decision]) throws(ModelError) {
    let shifts = decisions.contains {
      if case .shift = $0.plan.action { true } else { false }
    }
    if let type = options.biasType, !shifts {
      throw ModelError(
        .usage, "no offsets are moved whose type could be chosen",
        found: "--bias-type \(type.name)",
        hint: "leave --bias-type out")
    }
    guard let bits = options.widenedBits else { return }
    let isUsed = decisions.contains {
      guard case .shift(let grouping) = $0.plan.action,
        case .grouped(let source) = $0.plan.source.encoding
      else { return false }
      return grouping.bits > source.bits
    }
    guard !isUsed else { return }
    throw ModelError(
      .usage, "no weight can be widened", expected: "codes below \(bits) bits with zero points",
      found: "--widen \(bits)", hint: "leave --widen out: the fold does not need it")
  }

  /// Throws, with what it would cost, when a fold needs an option that was not given.
  private func checkPermits(
    _ decisions: [FoldPlanner.Decision], _ plan: Plan
  ) throws(ModelError) {
    let missing = decisions.compactMap { decision -> (TensorPlan, String, FoldPlanner.Permit)? in
      guard case .rounded(let reason, let permit) = decision.admission else { return nil }
      return isPermitted(permit, decision.plan) ? nil : (decision.plan, reason, permit)
    }
    guard let (tensor, reason, permit) = missing.first else { return }
    let report = try Run(plan).measured()
    let loss = Percentage.text(report.total.adapterError)
    let hint =
      permit == .requantize
      ? "--requantize rounds again; folding into the 16-bit model first loses less"
      : "--round accepts it"
        + (destination.format.bits.contains(8) ? "; --widen 8 makes the steps finer" : "")
        + (destination.format.holds(.bias)
          ? ", --bias-type F16 stores real offsets"
          : "; --to mlx and --to gguf store real offsets")
    throw ModelError(
      .unsupported, "the fold would lose \(loss) of the adapter: \(reason)",
      tensor: tensor.source.name, expected: "\(permit.rawValue) to accept that", hint: hint)
  }

  private func isPermitted(_ permit: FoldPlanner.Permit, _ plan: TensorPlan) -> Bool {
    switch permit {
    case .requantize: return options.requantizes
    case .round:
      guard case .shift(let grouping) = plan.action,
        case .grouped(let source) = plan.source.encoding
      else { return options.rounds }
      return options.rounds || grouping.bits > source.bits
    }
  }

  // MARK: - What a user should know

  private func notes(_ decisions: [FoldPlanner.Decision]) -> [String] {
    var notes = model.notes(on: uses, changes)
    let shifted = decisions.compactMap { decision -> (Grouping, Grouping)? in
      guard case .shift(let grouping) = decision.plan.action,
        case .grouped(let source) = decision.plan.source.encoding
      else { return nil }
      return (source, grouping)
    }
    if destination.format.usesOneFloatType,
      shifted.contains(where: { $0.0.parameters == .bf16 && $0.1.parameters == .f16 })
    {
      notes.append(
        "all numbers become F16, which rounds the fold 8 times finer than the base's BF16; "
          + "--bias-type BF16 keeps that")
    }
    if shifted.contains(where: { $0.1.offset == .bias && $0.1.parameters == .bf16 }) {
      notes.append(
        "biases are BF16, which rounds the fold 8 times coarser than F16; --bias-type F16 avoids it"
      )
    }
    let gained = shifted.count { $0.0.offset != .bias && $0.1.offset == .bias }
    if gained > 0 {
      let weights = gained == 1 ? "1 weight gets" : "\(gained) weights get"
      notes.append("\(weights) an offset for each group; codes and scales stay")
    }
    return notes
  }
}
