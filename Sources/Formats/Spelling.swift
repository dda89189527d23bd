package import Bytes
package import TensorModel

/// How one weight is written as stored tensors, and read from them; knows nothing of files.
package protocol Spelling: Sendable {
  /// Whether weights of this description can be written.
  func admits(_ info: TensorInfo) -> Admission

  /// The stored tensors of an admitted weight, known before any of its numbers.
  func parts(of info: TensorInfo) -> [StoredTensor]

  /// The spelling of a model with this `config.json`; nil when the config is of another.
  ///
  /// Throws `malformed` and `unsupported` for one of this kind that makes no sense.
  func configured(
    by config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> (any Spelling)?

  /// What a user should know of a model that is read.
  var notes: [String] { get }

  /// The keys of `config.json` that describe the spelling.
  var configurationKeys: [String] { get }

  /// What `config.json` is for a model with such tensors; nil when there is none.
  ///
  /// - Parameters:
  ///   - config: The document without keys of any spelling; nil when the model has none.
  ///   - tensors: The tensors as they will be.
  /// - Returns: The document to write.
  /// - Throws: `unsupported` when one is needed.
  func configuration(_ config: JSONValue?, for tensors: [TensorInfo]) throws(ModelError)
    -> JSONValue?

  /// The names of files beside `config.json` that describe the spelling.
  var documentNames: [String] { get }

  /// What such a file is for a model with such tensors; nil when there is none.
  func document(_ name: String, for tensors: [TensorInfo]) -> JSONValue?

  /// Why a weight of this shape has no place, though others with such groups have; nil where it has.
  func misfit(_ shape: Shape, _ grouping: Grouping) -> String?

  /// The weights that stored tensors make up. Throws `malformed` when parts do not fit together.
  func gather(_ stored: StoredContents) throws(ModelError) -> [GatheredTensor]

  /// Throws `unsupported` for numbers of rows that have no place, though their grouping is admitted.
  ///
  /// `firstRow` is the place of the first row in the weight.
  func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError)

  /// Writes rows into buffers that hold rows of each part, as `RowLayout` orders them, from
  /// `firstRow` of the buffers.
  func spell(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int)

  /// The groups that a reader finds of admitted ones.
  func stored(_ grouping: Grouping) -> Grouping

  /// Where the scales of a grouping are among other bytes; nil where they have a part to themselves.
  func scaleField(of grouping: Grouping) -> ParameterField?

  /// Where the biases of a grouping are in the parts; nil where it has none, or none to itself.
  func biasField(of grouping: Grouping) -> ParameterField?

  /// Fills `rows` from buffers that hold rows of each part, beginning at `firstRow` of the buffers.
  func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows)
}

/// Numbers of a parameter among other bytes, at equal distances.
package struct ParameterField: Sendable, Hashable {
  /// The index of the part.
  package var part: Int
  /// The bytes before the first.
  package var offset: Int
  /// The bytes from one to the next.
  package var stride: Int

  /// A field of a part; without an offset and a stride of its own, numbers that follow each other.
  package init(part: Int, offset: Int = 0, stride: Int) {
    self.part = part
    self.offset = offset
    self.stride = stride
  }
}

/// A weight and the stored tensors it consists of.
package struct GatheredTensor: Sendable {
  /// The weight.
  package var info: TensorInfo
  /// Indices of the stored tensors, in the spelling's order.
  package var parts: [Int]
  /// Where rows of the weight are in each of them; empty where they follow each other in all.
  package var layouts: [RowLayout] = []
}

/// Whether a format can hold a weight, decided before anything is written.
package enum Admission: Sendable, Hashable {
  /// It holds the same numbers.
  case exact
  /// It holds nearby numbers, for the reason given.
  case rounded(String)
  /// It cannot hold it, for the reason given.
  case refused(String)
}

extension Spelling {
  package func configured(by config: JSONValue, _ stored: StoredContents) -> (any Spelling)? { nil }

  package var notes: [String] { [] }

  package var configurationKeys: [String] { [] }

  package func configuration(_ config: JSONValue?, for tensors: [TensorInfo]) -> JSONValue? {
    config
  }

  package var documentNames: [String] { [] }

  package func document(_ name: String, for tensors: [TensorInfo]) -> JSONValue? { nil }

  package func misfit(_ shape: Shape, _ grouping: Grouping) -> String? { nil }

  package func check(_ rows: GroupedRows, firstRow: Int) {}

  package func stored(_ grouping: Grouping) -> Grouping { grouping }

  package func scaleField(of grouping: Grouping) -> ParameterField? { nil }

  package func biasField(of grouping: Grouping) -> ParameterField? { nil }

  /// Plain tensors are their own single part, in every spelling.
  package func plainParts(of info: TensorInfo) -> [StoredTensor] {
    switch info.encoding {
    case .plain(let type):
      return StoredTensor(plain: info.name, info.shape, type).map { [$0] } ?? []
    case .foreign(let type):
      let rowByteCount = info.shape.columnCount / type.elementCount * type.byteCount
      return [
        StoredTensor(
          name: info.name, role: .blocks, shape: info.shape, encoding: info.encoding,
          rowByteCount: rowByteCount)
      ]
    case .grouped:
      preconditionFailure("a grouped weight is not one plain tensor")
    }
  }
}
