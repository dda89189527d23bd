package import Bytes
package import TensorModel

/// A file format for stored tensors; it knows nothing about quantization.
package protocol Container: Sendable {
  /// What its files can store besides tensors and text metadata.
  static var features: ContainerFeatures { get }

  /// The usual extensions of its file names, without the dot.
  static var suffixes: [String] { get }

  /// Whether a file that begins with these bytes is in this format.
  static func recognizes(_ head: [UInt8]) -> Bool

  /// Opens the files of a model.
  ///
  /// Throws every kind but `interrupted`; `usage` if the files are those of several models.
  static func open(_ files: ModelFiles, limits: ReadLimits) throws(ModelError) -> any StoredReader

  /// Plans new files: their headers, lengths and the location of every tensor.
  ///
  /// Throws `unsupported` for contents that the format cannot store.
  static func layout(_ contents: Contents, _ options: WriteOptions) throws(ModelError)
    -> any OutputLayout
}

/// What the files of a container can store besides tensors and text metadata.
package struct ContainerFeatures: OptionSet, Sendable {
  package let rawValue: Int

  package init(rawValue: Int) { self.rawValue = rawValue }

  /// Checksums of all parts, the sources, the history and adapters.
  package static let provenance = ContainerFeatures(rawValue: 1)
  /// Compressed parts.
  package static let compression = ContainerFeatures(rawValue: 2)
  /// A model in several files.
  package static let shards = ContainerFeatures(rawValue: 4)
  /// Metadata values other than text: numbers and arrays.
  package static let typedMetadata = ContainerFeatures(rawValue: 8)
}
