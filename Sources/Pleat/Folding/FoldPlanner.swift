package import Adapters
package import Formats
internal import Quantization
package import TensorModel

/// Decides for each tensor how its changes get into it, and what that costs.
///
/// Pure: it sees descriptions only. `formats/adapters.md` has a table of what it decides.
package struct FoldPlanner: Sendable {
  private let format: Format
  private let options: FoldOptions
  private let conversion: ConversionPlanner

  package init(_ format: Format, _ options: FoldOptions = FoldOptions()) {
    self.format = format
    self.options = options
    conversion = ConversionPlanner(format: format, type: nil)
  }

  /// What a change comes to in the encoding of a tensor.
  package enum Admission: Sendable, Hashable {
    /// The stored type is all that rounds.
    case exact
    /// More is rounded, for the reason given, and the option that permits it.
    case rounded(String, permit: Permit)
    /// It cannot be done, for the reason given.
    case refused(String)
  }

  /// An option without which a fold is not made.
  package enum Permit: String, Sendable, Hashable {
    case requantize = "--requantize"
    case round = "--round"
  }

  /// A decision about a tensor.
  package struct Decision: Sendable {
    package var plan: TensorPlan
    package var admission: Admission
  }

  /// What happens to one tensor.
  ///
  /// Throws `unsupported` when the format cannot hold a tensor that no adapter changes.
  package func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange]
  ) throws(ModelError) -> Decision {
    guard !changes.isEmpty else {
      return Decision(plan: try unchanged(tensor), admission: .exact)
    }
    let isReplaced = changes.contains(where: \.isReplacement)
    if changes.dropFirst().contains(where: \.isReplacement) {
      return refuse(tensor, "an adapter replaces what another has changed")
    }
    switch tensor.encoding {
    case .plain(.f64):
      return refuse(tensor, "F64 would be rounded to F32; convert the base with --dtype F32 first")
    case .plain(let own) where own.isDecodable:
      let type = commonType ?? own
      return decide(
        tensor, changes, isReplaced && changes.count == 1 ? .replace(type) : .merge(type), .exact)
    case .plain(let type):
      return refuse(tensor, "\(type.name) is not a type that Pleat rounds to")
    case .foreign(let layout):
      return refuse(
        tensor, "\(layout.name) has no place for a fold; quantize from the 16-bit model")
    case .grouped(let grouping):
      if isReplaced {
        return refuse(tensor, "the adapter replaces it with a 16-bit tensor, and it is quantized")
      }
      return decide(tensor, changes, grouping)
    }
  }

  /// The type that all numbers take on, where the format wants one, and the user chose it.
  private var commonType: ScalarType? { format.usesOneFloatType ? options.biasType : nil }

  private func unchanged(_ tensor: TensorInfo) throws(ModelError) -> TensorPlan {
    var plan = try conversion.plan(tensor)
    guard plan.action == .copy else { return plan }
    plan.reason = "no adapter changes it"
    guard let type = commonType else { return plan }
    switch tensor.encoding {
    case .plain(let own) where own.isDecodable && own != type:
      plan.action = .decode(type)
      plan.target = tensor.with(.plain(type))
    case .grouped(var grouping) where grouping.parameters != type:
      grouping.parameters = type
      plan.action = .shift(grouping)
      plan.target = tensor.with(.grouped(grouping))
    default: return plan
    }
    plan.reason = "in the type of the other biases"
    return plan
  }

  private func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping
  ) -> Decision {
    if changes.contains(where: { $0.lowRank?.magnitude != nil }) {
      return refuse(tensor, "DoRA scales whole rows, which needs a 16- or 32-bit base")
    }
    let groups = changes.map(\.groupSize)
    if grouping.isScattered {
      return requantize(
        tensor, changes, grouping,
        "the base's groups are scattered over the row (desc_act), the adapter's are not")
    }
    if let size = groups.compactMap({ $0 }).first(where: { $0 % grouping.groupSize != 0 }) {
      return requantize(
        tensor, changes, grouping,
        "the adapter's groups of \(size) inputs are not whole groups of \(grouping.groupSize)")
    }
    if groups.contains(nil) {
      return requantize(
        tensor, changes, grouping, "LoRA changes each weight of a group by another number")
    }
    return shift(tensor, changes, grouping)
  }

  /// Pooled inputs: one number for each group, which the offset takes up where there is one.
  private func shift(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping
  ) -> Decision {
    var target = grouping
    var admission = Admission.exact
    switch grouping.offset {
    case .bias: target.parameters = options.biasType ?? grouping.parameters
    case .none where format.holds(.bias):
      target.offset = .bias
      target.parameters = options.biasType ?? grouping.parameters
    case .none, .zeroPoint:
      target.offset = .zeroPoint
      if let type = options.biasType {
        (target.offset, target.parameters) = (.bias, type)
      } else if !format.holds(.zeroPoint), format.holds(.bias) {
        // A format of other groups takes the zero point and the change up in one bias.
        target.offset = .bias
      } else {
        if let bits = options.widenedBits, bits > grouping.bits { target.bits = bits }
        admission = .rounded("zero points are whole numbers", permit: .round)
      }
    }
    // Widening is asked for by name, with its cost: no second permission is needed.
    if target.bits > grouping.bits { admission = .exact }
    switch format.admits(tensor.with(.grouped(target))) {
    case .exact: break
    case .rounded(let reason):
      guard options.biasType == nil else { return refuse(tensor, reason) }
      // The biases are rounded once anyway; that scales fit is checked when they are seen.
      target.parameters = .f16
    case .refused(let reason): return refuse(tensor, "the offset has no place: \(reason)")
    }
    return decide(tensor, changes, .shift(target), admission)
  }

  private func requantize(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ grouping: Grouping, _ reason: String
  ) -> Decision {
    // What is rounded again gets groups of neighbours.
    var grouping = grouping
    grouping.isScattered = false
    guard tensor.shape.columnCount % grouping.groupSize == 0 else {
      return refuse(tensor, reason)
    }
    guard let scheme = Schemes.all.first(where: { $0.offsets.contains(grouping.offset) }) else {
      return refuse(tensor, reason)
    }
    if case .refused(let refusal) = format.admits(tensor.with(.grouped(grouping))) {
      return refuse(tensor, refusal)
    }
    return decide(
      tensor, changes, .quantize(grouping, scheme: scheme.name),
      .rounded(reason, permit: .requantize))
  }

  private func decide(
    _ tensor: TensorInfo, _ changes: [PairedChange], _ action: Action, _ admission: Admission
  ) -> Decision {
    let target: TensorInfo
    switch action {
    case .copy, .respell, .omit: target = tensor
    case .decode(let type), .merge(let type), .replace(let type): target = tensor.with(.plain(type))
    case .quantize(let grouping, _), .shift(let grouping): target = tensor.with(.grouped(grouping))
    }
    var plan = TensorPlan(
      source: tensor, target: target, action: action, reason: Self.reason(changes, action))
    plan.changes = changes
    return Decision(plan: plan, admission: admission)
  }

  private func refuse(_ tensor: TensorInfo, _ reason: String) -> Decision {
    let plan = TensorPlan(source: tensor, target: tensor, action: .copy, reason: reason)
    return Decision(plan: plan, admission: .refused(reason))
  }

  private static func reason(_ changes: [PairedChange], _ action: Action) -> String {
    switch action {
    case .replace: "replaced by the adapter's"
    case .shift: "offsets moved, codes kept"
    case .quantize: "rounded again"
    default: changes.count == 1 ? "an adapter added" : "\(changes.count) adapters added"
    }
  }
}
