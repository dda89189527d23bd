internal import Adapters
package import Formats
internal import Kernels
package import TensorModel

/// A planner's decision for one tensor, before its stored form and its location are resolved.
///
/// A plan may have 100,000 of them and few different decisions, which the wishes share.
package struct TensorWish: Sendable {
  /// The name of the tensor in the source.
  let sourceName: String
  /// Everything that is decided, besides names.
  private(set) var decision: Shared<Decision>
  private(set) var columns: Shared<TensorImportance>?  // the importance of its columns
  private var naming: Shared<Naming>?  // nil if the target has the name of the source

  /// What is decided for tensors of the same shape and encoding.
  package struct Decision: Sendable {
    let source: TensorForm
    var target: TensorForm
    var transform: Transform
    var reason: String
    var usesImportance = false
    var exception: Exception?
    var isKeptByRule = false
    var refusalHint: String?
    var sourceIndex: Int?
  }

  private struct Naming: Sendable {
    var name: String
    var placement: TensorPlacement?
  }

  /// The reason why a weight is not quantized as asked.
  package enum Exception: Sendable, Hashable {
    /// The group size does not divide the columns.
    case indivisible
    /// The columns do not fill the blocks of the type, so it gets another one.
    case otherType
    /// The format cannot store its shape, for the reason given.
    case shape(String)
    /// Pleat does not quantize numbers of its type, for the reason given.
    case type(String)
  }

  /// Creates a wish for a tensor that gets `encoding`.
  package init(
    _ source: TensorInfo, to encoding: Encoding, _ transform: Transform, _ reason: String
  ) {
    sourceName = source.name
    decision = Shared(
      Decision(
        source: source.form,
        target: encoding == source.encoding
          ? source.form : TensorForm(shape: source.shape, encoding: encoding),
        transform: transform, reason: reason))
  }

  /// Creates a wish for a tensor of which the same is decided as of another of its shape and encoding.
  package init(_ sourceName: String, like other: TensorWish) {
    self.sourceName = sourceName
    decision = other.decision
  }

  /// Creates a wish for a tensor that keeps its encoding.
  package init(keeping source: TensorInfo, _ reason: String) {
    self.init(source, to: source.encoding, .copy, reason)
  }

  /// Creates a wish for a tensor that becomes plain numbers.
  package init(decoding source: TensorInfo, to type: ScalarType, _ reason: String) {
    self.init(source, to: .plain(type), .encode([], .plain(type)), reason)
  }

  /// Creates a wish for a tensor that keeps its codes, with another offset or parameter type.
  package init(regrouping source: TensorInfo, to grouping: Grouping, _ reason: String) {
    self.init(source, to: .grouped(grouping), .regroup(grouping, offsetMoves: []), reason)
  }

  /// Creates a wish for MXFP4 or NVFP4 in the other of its two layouts; nil if the format has none
  /// for it.
  package init?(rearranging source: TensorInfo, for format: Format, _ reason: String) {
    guard let encoding = source.otherLayout, format.carries(encoding) == .exact else { return nil }
    self.init(source, to: encoding, .rearrange, reason)
  }

  /// The tensor under the name of the source, in the shape of the target.
  var described: TensorInfo {
    var info = source
    if info.shape != decision.value.target.shape { info.shape = decision.value.target.shape }
    return info
  }

  /// Gives the target as many rows as changes of adapters give it.
  mutating func grow(for changes: [PairedChange]) {
    target.shape = changes.grownShape(of: target.shape) ?? target.shape
  }

  /// Whether the target has more rows than the source.
  var isGrown: Bool {
    decision.value.target.rowCount > decision.value.source.rowCount
  }

  /// The wish to leave out a head that equals the embeddings.
  var omitted: TensorWish {
    var wish = self
    wish.transform = .omit
    wish.reason = "a copy of the embeddings"
    return wish
  }

  /// The action for reports.
  package var action: Action {
    decision.value.transform.action(on: decision.value.source.encoding)
  }
}

extension TensorWish {
  /// The tensor in the source.
  package var source: TensorInfo { TensorInfo(name: sourceName, decision.value.source) }

  /// The tensor in the output.
  package var target: TensorInfo {
    get { TensorInfo(name: naming?.value.name ?? sourceName, decision.value.target) }
    set {
      if !newValue.name.hasSameBytes(as: naming?.value.name ?? sourceName) {
        naming = Shared(Naming(name: newValue.name, placement: placement))
      }
      decision.value.target = newValue.form
    }
  }

  /// The transform that turns the source into the target.
  package var transform: Transform {
    get { decision.value.transform }
    set { decision.value.transform = newValue }
  }

  /// The reason for the decision, in a few words.
  package var reason: String {
    get { decision.value.reason }
    set { decision.value.reason = newValue }
  }

  /// The importance of its columns; nil if the encoder does not use any.
  package var importance: TensorImportance? {
    get { columns?.value }
    set { columns = newValue.map { Shared($0) } }
  }

  /// Whether the encoder uses the importance of its columns.
  var usesImportance: Bool {
    get { decision.value.usesImportance }
    set { decision.value.usesImportance = newValue }
  }

  /// Why the tensor is not quantized as the recipe asks for; nil in all other cases.
  package var exception: Exception? {
    get { decision.value.exception }
    set { decision.value.exception = newValue }
  }

  /// Whether a rule keeps the tensor, even with numbers that are not finite.
  package var isKeptByRule: Bool {
    get { decision.value.isKeptByRule }
    set { decision.value.isKeptByRule = newValue }
  }

  /// The hint for the user if the format refuses the target.
  package var refusalHint: String? {
    get { decision.value.refusalHint }
    set { decision.value.refusalHint = newValue }
  }

  /// The index of the tensor in the source that is read; nil for the one at the wish's position.
  package var sourceIndex: Int? {
    get { decision.value.sourceIndex }
    set { decision.value.sourceIndex = newValue }
  }

  /// The name and the form in the runtime; nil if they stay the same.
  package var placement: TensorPlacement? {
    get { naming?.value.placement }
    set { naming = Shared(Naming(name: naming?.value.name ?? sourceName, placement: newValue)) }
  }
}

extension TensorInfo {
  /// The encoding with the same codes and scales, in blocks of llama.cpp or apart; nil if there is
  /// none.
  fileprivate var otherLayout: Encoding? {
    switch encoding {
    case .scaled(let codes) where codes.isMXFP4: return BlockType.mxfp4.encoding
    case BlockType.mxfp4.encoding: return .scaled(.mxfp4)
    case BlockType.nvfp4.encoding: return .scaled(.nvfp4(.none))
    case .scaled(let codes) where codes.isNVFP4:
      var other = codes
      other.isInBlocks.toggle()
      if codes.isInBlocks { return .scaled(other) }
      guard shape.columnCount % BlockType.nvfp4.elementCount == 0 else { return nil }
      // Blocks have factors that multiply.
      other.factor = .multiplier
      return codes.factor == .none ? BlockType.nvfp4.encoding : .scaled(other)
    default: return nil
    }
  }
}
