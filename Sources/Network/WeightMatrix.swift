internal import Adapters
internal import Kernels
internal import TensorModel
internal import Weights

/// A matrix of weights of a model in any encoding that Pleat decodes: rows of a tensor.
///
/// Its rows have the changes of adapters that are not products, and those of DoRA. Other products
/// are `terms`, which are added to what the matrix is multiplied with.
struct WeightMatrix: Sendable {
  /// The name of the tensor, for messages.
  let name: String
  /// The products that adapters add.
  private(set) var terms: [LowRankTerm]
  private let reader: WeightReader
  private let tensor: WeightReader.Tensor
  private let rows: Range<Int>
  /// The changes of its rows.
  private let edits: [PairedChange]
  private let adapters: UnmergedAdapters

  /// The number of rows, the outputs of a product.
  var rowCount: Int { rows.count }
  /// The number of columns, its inputs.
  var columnCount: Int { tensor.shape.columnCount }

  /// How a matrix is used.
  enum Use: Hashable {
    /// Inputs are multiplied with it.
    case product
    /// Its rows are looked up.
    case rows
  }

  /// All rows of a tensor, or some.
  ///
  /// - Parameters:
  ///   - name: The name of the tensor.
  ///   - index: Its index.
  ///   - reader: Reads it.
  ///   - rows: The rows; nil for all.
  ///   - changes: What adapters change in the tensor.
  ///   - adapters: These adapters.
  ///   - use: How the matrix is used.
  /// - Throws: `unsupported` for a tensor that Pleat does not decode, or whose rows cannot be read
  ///   from the first of these on.
  init(
    _ name: String, _ index: Int, of reader: WeightReader, rows: Range<Int>? = nil,
    changes: [PairedChange], of adapters: UnmergedAdapters, for use: Use
  ) throws(ModelError) {
    guard let tensor = reader.tensor(index) else {
      throw ModelError(
        .unsupported, "Pleat does not decode the tensor", tensor: name,
        hint: "pleat inspect shows how it is stored")
    }
    let rows = rows ?? 0..<tensor.shape.rowCount
    guard rows.lowerBound.isMultiple(of: tensor.rowStep) else {
      throw ModelError(
        .unsupported, "the rows of the tensor are packed together, and a part of them is needed",
        tensor: name, expected: "parts of a multiple of \(tensor.rowStep) rows",
        found: "a part from row \(rows.lowerBound) on",
        hint: "pleat convert --dtype BF16 writes a checkpoint without groups")
    }
    self.name = name
    self.reader = reader
    self.tensor = tensor
    self.rows = rows
    self.adapters = adapters
    let terms = LowRankTerm.terms(changes, ofRows: rows, of: tensor.shape)
    self.terms = use == .product ? terms ?? [] : []
    edits = use == .product && terms != nil ? [] : changes
  }

  /// Some rows of a tensor that inputs are multiplied with, and the products that adapters add.
  ///
  /// Throws what the other initializer throws.
  init(
    _ name: String, _ index: Int, of reader: WeightReader, rows: Range<Int>,
    terms: [LowRankTerm], of adapters: UnmergedAdapters
  ) throws(ModelError) {
    try self.init(name, index, of: reader, rows: rows, changes: [], of: adapters, for: .product)
    self.terms = terms
  }

  /// Runs of rows that fit into memory, each a multiple of so many rows but the last.
  func runs(multiple: Int) -> [Range<Int>] {
    WeightReader.runs(of: [tensor], in: rows, multiple: multiple).map {
      $0.lowerBound - rows.lowerBound..<$0.upperBound - rows.lowerBound
    }
  }

  /// What tells it from other matrices of the model.
  struct Place: Hashable {
    let tensor: Int
    let rows: Range<Int>
  }

  var place: Place { Place(tensor: tensor.index, rows: rows) }

  /// How it is packed for products with one token; nil if it is not, or if adapters change it.
  var packedForm: PackedMatrix.Form? {
    rows.isEmpty || !terms.isEmpty || !edits.isEmpty ? nil : reader.packedForm(of: tensor)
  }

  /// Reads and packs all rows.
  ///
  /// Throws what reading throws.
  func packed(
    _ form: PackedMatrix.Form, by workers: Workers
  ) throws(ModelError) -> PackedMatrix {
    let matrix = PackedMatrix(form, rowCount: rowCount, columnCount: columnCount)
    let runs = runs(multiple: PackedMatrix.rowsPerBlock)
    let first = rows.lowerBound
    try workers.run(runs.count, with: WeightReader.Buffers()) {
      (part, buffers) throws(ModelError) in
      let run = runs[part]
      try reader.pack(
        tensor, rows: first + run.lowerBound..<first + run.upperBound, into: matrix,
        at: run.lowerBound, reusing: &buffers)
    }
    return matrix
  }

  /// The numbers of some rows; reads them from the file.
  ///
  /// Throws what reading throws.
  func values(_ part: Range<Int>) throws(ModelError) -> [Float] {
    var buffers = Buffers()
    return try values(part, with: &buffers)
  }

  /// The same, with memory that is reused.
  func values(_ part: Range<Int>, with buffers: inout Buffers) throws(ModelError) -> [Float] {
    let start = try read(part, into: &buffers)
    return Array(buffers.values[start..<start + part.count * columnCount])
  }

  /// Memory that reading rows of the matrices of one model reuses.
  struct Buffers {
    fileprivate var weights = WeightReader.Buffers()
    private var updates: UpdateReader?

    /// The numbers that were read last.
    var values: [Float] { weights.values }

    /// Reads the numbers of adapters.
    mutating func reader(of adapters: UnmergedAdapters) -> UpdateReader {
      if let updates { return updates }
      let reader = UpdateReader(adapters.numbers)
      updates = reader
      return reader
    }
  }

  /// Reads some rows, and others that are packed together with them.
  ///
  /// - Parameters:
  ///   - part: The rows.
  ///   - buffers: Receives the numbers.
  /// - Returns: The index of the first number of the rows.
  /// - Throws: What reading throws.
  func read(_ part: Range<Int>, into buffers: inout Buffers) throws(ModelError) -> Int {
    let step = tensor.rowStep
    let range = rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound
    let first = range.lowerBound / step * step
    let last = min((range.upperBound + step - 1) / step * step, tensor.shape.rowCount)
    try reader.read(tensor, rows: first..<last, into: &buffers.weights)
    if !edits.isEmpty {
      let updates = buffers.reader(of: adapters)
      var update = RowUpdate(buffers.values, rows: first..<last, columnCount: columnCount)
      for change in edits { try update.apply(change, updates) }
      buffers.weights.replace(by: update.values)
    }
    return (range.lowerBound - first) * columnCount
  }
}

extension WeightMatrix {
  /// The inputs of the low-rank products that adapters add: R x for each of `terms`.
  ///
  /// Throws what reading an adapter throws.
  func innerProducts(
    of x: PackedRows, term: Int, with buffers: inout Buffers
  ) throws(ModelError) -> PackedRows {
    let term = terms[term]
    let right = try term.right(buffers.reader(of: adapters))
    let inner = FloatMatrix(rowCount: x.count, columnCount: term.rank)
    x.multiply(right.span, rowCount: term.rank, into: inner, column: 0)
    return PackedRows(inner, rows: 0..<x.count, columns: 0..<term.rank)
  }

  /// Adds scale · L u to the products with some rows of the matrix.
  ///
  /// - Parameters:
  ///   - inner: u, of a term.
  ///   - term: The index of the term.
  ///   - part: The rows.
  ///   - result: Products with all rows of the matrix.
  ///   - buffers: Reused memory.
  /// - Throws: What reading an adapter throws.
  func add(
    _ inner: PackedRows, term: Int, rows part: Range<Int>, to result: FloatMatrix,
    with buffers: inout Buffers
  ) throws(ModelError) {
    let term = terms[term]
    let outputs = term.outputs.clamped(to: part)
    guard !outputs.isEmpty else { return }
    let left = try term.left(outputs, buffers.reader(of: adapters))
    let added = FloatMatrix(rowCount: inner.count, columnCount: outputs.count)
    inner.multiply(left.span, rowCount: outputs.count, into: added, column: 0)
    for row in 0..<inner.count {
      result.add(added, row: row, scale: term.scale, to: row, columns: outputs)
    }
  }
}

/// A matrix and a bias: y = W x + b.
struct Linear: Sendable {
  /// llama.cpp's name of the matrix, with `.weight`; of a stack for an expert.
  var name: String
  var matrix: WeightMatrix
  var bias: [Float]?

  /// The number of outputs.
  var rowCount: Int { matrix.rowCount }
}
