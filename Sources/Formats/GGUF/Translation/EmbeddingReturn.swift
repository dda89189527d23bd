internal import Architectures
internal import Bytes
internal import TensorModel

/// The tensors of a model that embeds texts which a checkpoint has in another form.
struct EmbeddingReturn: Sendable {
  /// The names of tensors of llama.cpp that are in other files, or among `additions`.
  private(set) var replaced: Set<String> = []
  /// The tensors that are written besides those of llama.cpp.
  private(set) var additions: [TensorAddition] = []
  /// Notes about numbers that the file does not have.
  private(set) var notes: [String] = []

  /// No such tensors.
  init() {}

  /// Finds the tensors.
  ///
  /// `numbers` reads a tensor by its index. Throws `malformed` for position embeddings of another
  /// shape than the metadata states, and what `numbers` throws.
  init(
    _ tensors: [TensorInfo], _ basis: CheckpointBasis,
    _ numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    if basis.architecture.traits.appliesDenseLayers {
      replaced = Set(DenseLayer.names.map { $0 + CheckpointTranslation.weight })
    }
    guard let encoder = basis.architecture.encoder else { return }
    if encoder.hasRowsForPadding { try addPositions(tensors, basis, numbers) }
    let width = basis.parameters.hiddenSize
    // A file of another width is refused later; a stated one alone must not take memory.
    let isWide = tensors.contains { $0.shape.dimensions == [width, width] }
    if encoder.hasPooler, isWide { try addPooler(width: width) }
  }

  /// Adds the position embeddings with rows for padding before those that the file has.
  private mutating func addPositions(
    _ tensors: [TensorInfo], _ basis: CheckpointBasis,
    _ numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    let (parameters, name) = (basis.parameters, TensorNames.ggufPositions)
    guard let index = tensors.firstIndex(where: { $0.name == name }),
      let table = basis.architecture.huggingFaceName(of: name)
    else { return }
    let shape = [parameters.contextLength, parameters.hiddenSize]
    guard tensors[index].shape.dimensions == shape else {
      throw ModelError(
        .malformed, "the tensor has another shape than the metadata states", tensor: name,
        expected: "\(shape[0])×\(shape[1]), context_length × embedding_length",
        found: "\(tensors[index].shape)")
    }
    let skipped = (parameters.positionCount ?? 0) - parameters.contextLength
    guard 0...basis.contents.tokenCount ~= skipped else {
      throw ModelError(
        .malformed, "the token that pads texts is not in the vocabulary", tensor: "pad_token_id",
        expected: "an id below \(basis.contents.tokenCount)", found: "\(skipped - 1)")
    }
    let zeros = Array(repeating: Float(0), count: skipped * shape[1])
    try add(table, [shape[0] + skipped, shape[1]], zeros + numbers(index))
    replaced.insert(name)
    notes.append(
      "the first \(skipped) rows of \(table) are zeros: the file does not have them, and only "
        + "padding has these positions")
  }

  /// Adds a pooler of zeros, which transformers would fill with random numbers otherwise.
  private mutating func addPooler(width: Int) throws(ModelError) {
    try add("pooler.dense.weight", [width, width], Array(repeating: 0, count: width * width))
    try add("pooler.dense.bias", [width], Array(repeating: 0, count: width))
    notes.append(
      "the pooler is zeros: the file has none, and it does not change the vectors of tokens")
  }

  private mutating func add(
    _ name: String, _ dimensions: [Int], _ numbers: [Float]
  ) throws(ModelError) {
    guard let addition = TensorAddition(name, dimensions, numbers) else {
      throw ModelError(
        .malformed, "the tensor cannot be made from that of the file", tensor: name,
        expected: "\(dimensions.map(String.init).joined(separator: "×")) numbers",
        found: "\(numbers.count) numbers")
    }
    additions.append(addition)
  }
}
