internal import Architectures
internal import Bytes
public import Formats
public import TensorModel
public import Weights

/// The importance of the columns of a model's weights, from an importance matrix.
///
/// The matrix has llama.cpp's names; those of checkpoints are translated. Matrices of a stack, and
/// weights with the same inputs, need not be stored as in the model that was measured.
public struct Importance: Sendable {
  /// The importance matrix.
  public let matrix: ImportanceMatrix
  /// The number of weights of linear layers, embeddings and heads of the model.
  public private(set) var weightCount = 0
  /// The names of those for which the matrix has no entry, in file order.
  ///
  /// llama-imatrix measures no token embeddings, and the head only with `--process-output`.
  public private(set) var missing: [String] = []
  /// The matrices that saw no token, whose columns all count 1.
  public private(set) var unseen: [Unseen] = []
  /// The names of the entries that belong to no tensor of the model, sorted.
  public private(set) var unused: [String] = []

  /// What no token has reached.
  public struct Unseen: Sendable, Hashable {
    /// The name of the entry, such as `blk.3.ffn_gate_exps.weight`.
    public var entry: String
    /// The numbers of the experts; empty for a weight without experts.
    public var experts: [Int]
  }

  /// Where the importance of a tensor is: the columns of all matrices of an entry, or some of them.
  private struct Source {
    var entry: Int
    var columns: Range<Int>
  }

  private var sources: [ExactName: Source] = [:]

  /// Finds the entries of the tensors of a model.
  ///
  /// Throws `mismatch` if an entry has another number of columns than its weight, or if no entry
  /// belongs to a weight; what `checkNumbers` throws, what reading `config.json` throws, and `io`.
  public init(_ matrix: ImportanceMatrix, for model: Model) throws(ModelError) {
    try matrix.checkNumbers()
    let names: InputNames
    if model.isGGUF {
      names = InputNames()
    } else {
      let config = try model.configuration().map(TextConfig.merged)
      names = InputNames(config)
    }
    self.matrix = matrix
    try find(model.catalog, names)
    guard missing.count < weightCount else {
      throw ModelError(
        .mismatch, "the importance matrix has no entry for any weight of the model",
        file: matrix.path, expected: missing.first ?? "the weights of a model",
        found: "entries such as \(matrix.entries.first?.name ?? "none")",
        hint: "use a matrix that was measured on this model, or its 16-bit version")
    }
  }

  /// The importance of each column of a tensor: matrices × columns; nil without an entry.
  ///
  /// Throws `io`.
  public func weights(for name: String) throws(ModelError) -> [Float]? {
    guard let source = sources[ExactName(name)] else { return nil }
    return try matrix.entries[source.entry].weights(in: source.columns)
  }

  /// The importance of the columns of a tensor, to be read when they are needed; nil without any.
  func columns(of tensor: TensorInfo) -> TensorImportance? {
    let shape = tensor.shape
    guard let source = sources[ExactName(tensor.name)], shape.rank > 1, shape.columnCount > 0,
      shape.rowCount > 0
    else { return nil }
    return TensorImportance(
      entry: matrix.entries[source.entry], columns: source.columns,
      columnCount: shape.columnCount, rowsPerMatrix: shape.rowsPerMatrix)
  }

  /// Whether there is importance for a tensor.
  public func contains(_ name: String) -> Bool { sources[ExactName(name)] != nil }

  /// The same importance for a GGUF model with tensors that are read from those of this one.
  ///
  /// A tensor whose columns are in another order, or are rows there, has none.
  func arranged(asIn model: Model) -> Importance {
    guard model.isGGUF, model.hasViews else { return self }
    var result = self
    for (index, tensor) in model.catalog.tensors.enumerated() {
      guard let (name, matrix) = model.columnSource(of: index),
        var source = sources[ExactName(name)]
      else { continue }
      if let matrix {
        let start = source.columns.lowerBound + matrix * tensor.shape.columnCount
        source.columns = start..<start + tensor.shape.columnCount
      }
      result.sources[ExactName(tensor.name)] = source
    }
    return result
  }

  // MARK: - Finding

  private static let expertLimit = 1 << 20

  private mutating func find(_ catalog: Catalog, _ names: InputNames) throws(ModelError) {
    let places = catalog.tensors.map { tensor in
      // A name may contain any number; no matrix has so many experts.
      names.place(of: tensor).flatMap { ($0.expert ?? 0) < Self.expertLimit ? $0 : nil }
    }
    var expertCounts: [ExactName: Int] = [:]
    for place in places {
      guard let place, let expert = place.expert else { continue }
      expertCounts[ExactName(place.names[0]), default: 0].formMaximum(with: expert + 1)
    }
    var roles = TensorRoles(catalog)
    var used: Set<Int> = []
    var unseenExperts: [Int: Set<Int>] = [:]
    for (tensor, place) in zip(catalog.tensors, places) {
      let role = roles.role(of: tensor)
      let isWeight = role == .linear || role == .embedding || role == .head
      if isWeight { weightCount += 1 }
      let entries = (place?.names ?? []).compactMap(matrix.index)
      used.formUnion(entries)
      guard isWeight else { continue }
      guard let place, let entry = entries.first,
        let source = try source(
          entry, of: tensor, place, expertCounts[ExactName(place.names[0])], role)
      else {
        missing.append(tensor.name)
        continue
      }
      sources[ExactName(tensor.name)] = source
      try note(source, of: tensor, place, in: &unseenExperts)
    }
    unseen = unseenExperts.sorted { $0.key < $1.key }.map {
      Unseen(entry: matrix.entries[$0.key].name, experts: $0.value.filter { $0 >= 0 }.sorted())
    }
    unused = matrix.entries.indices.filter { !used.contains($0) }.map { matrix.entries[$0].name }
  }

  /// The columns of an entry that belong to a tensor; nil for embeddings of another size, and if the
  /// inputs are rows of the tensor.
  ///
  /// Throws `mismatch` for other weights of another size.
  private func source(
    _ entry: Int, of tensor: TensorInfo, _ place: InputNames.Place, _ expertCount: Int?,
    _ role: TensorRole
  ) throws(ModelError) -> Source? {
    let inputCount = place.isTransposed ? tensor.shape.rowsPerMatrix : tensor.shape.columnCount
    let matrixCount = place.expert == nil ? tensor.shape.matrixCount : expertCount ?? 1
    let found = matrix.entries[entry]
    guard found.valueCount == inputCount * matrixCount else {
      if role == .embedding { return nil }
      throw ModelError(
        .mismatch, "the importance matrix is that of another model", file: matrix.path,
        tensor: found.name,
        expected: matrixCount == 1
          ? "\(inputCount) numbers for \(tensor.name)"
          : "\(matrixCount) × \(inputCount) numbers for \(tensor.name)",
        found: "\(found.valueCount)",
        hint: "use a matrix that was measured on this model, or its 16-bit version")
    }
    // The columns of a row have the same input, so none counts more than another.
    guard !place.isTransposed else { return nil }
    let start = (place.expert ?? 0) * inputCount
    let count = place.expert == nil ? found.valueCount : inputCount
    return Source(entry: entry, columns: start..<start + count)
  }

  /// Notes the experts of a tensor that saw no token; −1 stands for a weight without experts.
  ///
  /// Throws `io`.
  private func note(
    _ source: Source, of tensor: TensorInfo, _ place: InputNames.Place,
    in unseen: inout [Int: Set<Int>]
  ) throws(ModelError) {
    let entry = matrix.entries[source.entry]
    let columnCount = max(1, tensor.shape.columnCount)
    let isStack = place.expert != nil || tensor.shape.matrixCount > 1
    for start in stride(
      from: source.columns.lowerBound, to: source.columns.upperBound, by: columnCount)
    {
      var isUnseen = entry.counts[start / entry.columnCount] == 0
      if !isUnseen, matrix.form == .dat, isStack {
        // A .dat file has 1 instead of the means that do not exist.
        isUnseen = try entry.weights(in: start..<start + columnCount).allSatisfy { $0 == 1 }
      }
      guard isUnseen else { continue }
      unseen[source.entry, default: []].insert(isStack ? start / columnCount : -1)
    }
  }
}

extension Shape {
  /// The number of matrices in a stack; 1 for a matrix and a vector.
  fileprivate var matrixCount: Int { dimensions.dropLast(2).reduce(1, *) }

  /// The number of rows of a matrix in a stack, or of a matrix; 1 for a vector.
  fileprivate var rowsPerMatrix: Int { dimensions.dropLast().last ?? 1 }
}

extension Int {
  fileprivate mutating func formMaximum(with other: Int) { self = Swift.max(self, other) }
}

extension Importance {
  /// What the matrix covers, in one line.
  ///
  /// Such as `importance: 140 of 144 weights; missing: output.weight; blk.3 experts 5, 17 never seen`.
  public var summary: String {
    var clauses = ["importance: \(weightCount - missing.count) of \(weightCount) weights"]
    if !missing.isEmpty { clauses.append("missing: \(Self.list(missing))") }
    if !unseen.isEmpty { clauses.append("\(Self.list(unseenTexts)) never seen") }
    if !unused.isEmpty { clauses.append("of no weight: \(Self.list(unused))") }
    return clauses.joined(separator: "; ")
  }

  /// A text for each layer with experts that saw no token, or weight that saw none.
  var unseenTexts: [String] {
    var layers: [(name: String, experts: Set<Int>)] = []
    for found in unseen {
      guard !found.experts.isEmpty else {
        layers.append((found.entry, []))
        continue
      }
      // The matrices of an expert see the same tokens.
      let layer = found.entry.split(separator: ".").prefix(2).joined(separator: ".")
      if layers.last?.name == layer {
        layers[layers.count - 1].experts.formUnion(found.experts)
      } else {
        layers.append((layer, Set(found.experts)))
      }
    }
    return layers.map { name, experts in
      guard !experts.isEmpty else { return name }
      let numbers = experts.sorted().map(String.init).joined(separator: ", ")
      return "\(name) expert\(experts.count == 1 ? "" : "s") \(numbers)"
    }
  }

  /// The first of some texts, and how many there are besides.
  private static func list(_ texts: [String]) -> String {
    let shown = texts.prefix(3).joined(separator: ", ")
    return texts.count > 3 ? "\(shown) and \(texts.count - 3) more" : shown
  }
}
