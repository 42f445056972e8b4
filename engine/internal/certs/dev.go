package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// devLifetime is how long a certificate for trying out is good. Apple's systems take none of more
// than 825 days, browsers none of more than 398.
const devLifetime = 365 * 24 * time.Hour

// SelfSigned makes a certificate and its key, in PEM: ECDSA on P-256, for localhost, 127.0.0.1, ::1 and
// the names and addresses given.
func SelfSigned(now time.Time, hosts ...string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{Organization: []string{"sluice"}, CommonName: "sluice development"},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(devLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, // of no authority: trusting it is to trust this host alone
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && addr.Zone() == "" {
			if ip := net.IP(addr.Unmap().AsSlice()); !slices.ContainsFunc(template.IPAddresses, ip.Equal) {
				template.IPAddresses = append(template.IPAddresses, ip)
			}
			continue
		}
		name, err := hostName(host)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(template.DNSNames, name) {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// hostName checks the name of a host, which may begin with a star.
func hostName(text string) (string, error) {
	name := canonical(text)
	labels := strings.Split(name, ".")
	for i, label := range labels {
		ok := label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
		if !ok && !(i == 0 && label == "*" && len(labels) > 1) {
			return "", fmt.Errorf("%q is no name of a host, nor an address", text)
		}
	}
	if len(name) > 253 {
		return "", errors.New("the name of a host has more than 253 characters")
	}
	return name, nil
}

// newDev makes a self-signed certificate for this process.
func newDev(now time.Time) (*loaded, error) {
	cert, key, err := SelfSigned(now)
	if err != nil {
		return nil, err
	}
	made, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return newLoaded(&made, []*x509.Certificate{made.Leaf}, now)
}

func texts(addrs []net.IP) (list []string) {
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}
