internal import Architectures
internal import TensorModel

/// The stacks of llama.cpp whose matrices are tensors of their own in a checkpoint.
///
/// Where a format cannot divide a stack, its matrices are views first, whose names have the number
/// of the matrix before the ending: `blk.0.ffn_up_exps.3.weight`.
struct StackDivision {
  private let architecture: Architecture
  private let expertCount: Int?

  /// The division of the stacks of an architecture, for a model with so many experts.
  init(_ architecture: Architecture, expertCount: Int?) {
    self.architecture = architecture
    self.expertCount = expertCount
  }

  /// The names that the matrices of a tensor have in the tables; nil if it is no such stack.
  ///
  /// Throws `malformed` for a stack of another number of experts than the metadata states.
  func names(of tensor: TensorInfo) throws(ModelError) -> [String]? {
    guard tensor.shape.rank == 3, tensor.shape.elementCount > 0,
      let pattern = pattern(ofStack: tensor.name)
    else { return nil }
    let count = tensor.shape.dimensions[0]
    guard !pattern.isOfExperts || count == expertCount else {
      throw ModelError(
        .malformed, "the stack has another number of experts than the metadata states",
        tensor: tensor.name, expected: "\(expertCount ?? 0)", found: "\(count)")
    }
    return (0..<count).map { Self.name(pattern.text, $0) }
  }

  /// The matrices of a tensor; nil if it is no such stack.
  ///
  /// Throws what `names(of:)` throws.
  func views(of stack: TensorView) throws(ModelError) -> [TensorView]? {
    let info = TensorInfo(name: stack.name, shape: stack.shape, encoding: .plain(.f32))
    guard stack.rows.isEmpty, let names = try names(of: info),
      let shape = Shape(validating: Array(stack.shape.dimensions.dropFirst()))
    else { return nil }
    let stem = stack.name.dropLast(CheckpointTranslation.weight.utf8.count)
    return names.indices.map { index in
      var view = TensorView(
        name: "\(stem).\(index)\(CheckpointTranslation.weight)", shape: shape,
        source: stack.source)
      view.rows = [RowSelection(from: index * shape.rowCount, count: shape.rowCount)]
      return view
    }
  }

  /// The name that a matrix of a stack has in the tables, from that of its view; nil for others.
  func name(ofMatrix name: String) -> String? {
    var words = name.split(separator: ".")
    guard words.count > 2, case (let number) = words.remove(at: words.count - 2),
      let index = Int(number), number == "\(index)"
    else { return nil }
    return pattern(ofStack: words.joined(separator: ".")).map { Self.name($0.text, index) }
  }

  /// The names of the matrices of a stack, with `*` for the number; nil for other tensors.
  private func pattern(ofStack name: String) -> (text: String, isOfExperts: Bool)? {
    guard name.hasSuffix(CheckpointTranslation.weight) else { return nil }
    let stem = name.dropLast(CheckpointTranslation.weight.utf8.count)
    if let pair = architecture.numberedNames.first(where: { $0.gguf == stem }) {
      return (pair.huggingFace + CheckpointTranslation.weight, false)
    }
    return architecture.expertPatterns(ofGGUFName: name).first.map {
      ($0 + CheckpointTranslation.weight, true)
    }
  }

  private static func name(_ pattern: String, _ index: Int) -> String {
    pattern.replacing("*", with: "\(index)")
  }
}
