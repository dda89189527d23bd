/// The version of the program Pleat, not of a file format.
public enum PleatVersion {
  /// The version as text, such as `0.1.0`.
  public static let text = "0.1.0"
}
