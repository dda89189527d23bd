internal import Adapters
package import Formats
internal import Kernels
package import TensorModel

/// A planner's decision for one tensor, before its stored form and its location are resolved.
package struct TensorWish: Sendable {
  /// The tensor in the source.
  package let source: TensorInfo
  /// The tensor in the output.
  package var target: TensorInfo
  /// The transform that turns the source into the target.
  package var transform: Transform
  /// The reason for the decision, in a few words.
  package var reason: String
  /// The importance of its columns; nil if the encoder does not use any.
  package var importance: TensorImportance?
  /// Why the tensor is not quantized as the recipe asks for; nil in all other cases.
  package var exception: Exception?
  /// Whether a rule keeps the tensor, even with numbers that are not finite.
  package var isKeptByRule = false
  /// The hint for the user if the format refuses the target.
  package var refusalHint: String?
  /// The index of the tensor in the source that is read; nil for the one at the wish's position.
  package var sourceIndex: Int?
  /// The name and the form in the runtime; nil if they stay the same.
  package var placement: TensorPlacement?

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
    self.source = source
    target = TensorInfo(name: source.name, shape: source.shape, encoding: encoding)
    self.transform = transform
    self.reason = reason
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
    TensorInfo(name: source.name, shape: target.shape, encoding: source.encoding)
  }

  /// Gives the target as many rows as changes of adapters give it.
  mutating func grow(for changes: [PairedChange]) {
    target.shape = changes.grownShape(of: target.shape) ?? target.shape
  }

  /// The wish to leave out a head that equals the embeddings.
  var omitted: TensorWish {
    var wish = self
    wish.transform = .omit
    wish.reason = "a copy of the embeddings"
    return wish
  }

  /// The action for reports.
  package var action: Action { transform.action(on: source.encoding) }
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
